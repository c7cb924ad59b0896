"""One process of the fleet each: what a host, a container or `up` starts."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import typer

from tasks import logs
from tasks.environment import load_settings
from tasks.errors import SettingsError
from tasks.queues import QUEUES
from tasks.settings import Settings
from tasks.tracing import traced
from workers.cli.access import hand_on
from workers.cli.options import DEFAULT_DATA_DIR, DataDir
from workers.process import leash

Port = Annotated[int | None, typer.Option("--port", min=0, max=65535)]
ReadyFile = Annotated[
    Path | None,
    typer.Option("--ready-file", help="Created when this process is ready for work.", hidden=True),
]
#: Only the owner of the docket's tables can archive: leave it out where workers are not (0021).
_QUEUES = ",".join(QUEUES)


def _begin(process: str, data_dir: Path, **given: Any) -> Settings:
    """The settings of this process, and its logs."""
    chosen = {name: value for name, value in given.items() if value is not None}
    settings = load_settings(data_dir=data_dir, **chosen)
    logs.configure(process, level=settings.log_level, fmt=settings.log_format)
    return settings


def watcher(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Follow the chain. Start two on different hosts: one leads, the other takes over."""
    from workers.watcher import running

    with traced("watcher"):
        running.run(_begin("watcher", data_dir))


def gateway(
    host: Annotated[str | None, typer.Option("--host")] = None,
    port: Port = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Take the nodes' webhooks and serve the desk, the operator's pages."""
    from workers import gateway as room

    with traced("gateway"):
        room.run(_begin("gateway", data_dir, gateway_host=host, gateway_port=port))


def signer(
    host: Annotated[str | None, typer.Option("--host")] = None,
    port: Port = None,
    new_seal_key: Annotated[
        bool, typer.Option("--new-seal-key", help="Make the seal key file when it is missing.")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Hold the secrets and sign what the law allows; the only process that does."""
    from storage.seal import create_seal_key
    from workers import signer as room

    settings = _begin("signer", data_dir, signer_host=host, signer_port=port)
    if new_seal_key:
        create_seal_key(settings.required_seal_key_file)
    room.run(settings)


def _known_queues(text: str) -> str:
    """As it is; a worker that takes from a queue which is none is ready and does nothing."""
    unknown = sorted(set(text.split(",")) - set(QUEUES))
    if unknown:
        raise typer.BadParameter(
            f"no queue is called {', '.join(map(repr, unknown))}: there are {', '.join(QUEUES)}"
        )
    return text


def worker(
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", min=1, max=256, help="Processes in this worker.")
    ] = None,
    queues: Annotated[
        str,
        typer.Option(
            "--queues", callback=_known_queues, help="Queues to take from, separated by commas."
        ),
    ] = _QUEUES,
    name: Annotated[
        str, typer.Option("--name", help="Unique in the fleet; %h is this host.")
    ] = "court@%h",
    ready_file: ReadyFile = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Carry out tasks. Start as many as you like, on as many hosts."""
    settings = _begin("worker", data_dir, worker_concurrency=concurrency)
    hand_on(settings)
    from celery import signals

    from tasks.app import app

    # A pool child whose worker is killed must not work on alone.
    tie = leash(signal.SIGKILL)
    signals.worker_process_init.connect(lambda **_: tie(), weak=False)
    if ready_file:
        signals.worker_ready.connect(lambda **_: ready_file.touch(), weak=False)
    app.worker_main(
        [
            *("worker", "--pool=prefork", "--task-events"),
            *(f"--concurrency={settings.worker_concurrency}", f"--queues={queues}"),
            *(f"--hostname={name}", "--without-gossip", "--without-mingle"),
            f"--loglevel={settings.log_level}",
        ]
    )


def beat(ready_file: ReadyFile = None, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Nudge the reconcile tasks. None, one or two of them: the outcome is the same."""
    settings = _begin("beat", data_dir)
    hand_on(settings)
    from celery import signals

    from tasks.app import app

    if ready_file:
        signals.beat_init.connect(lambda **_: ready_file.touch(), weak=False)
    # The plain scheduler keeps no file: a nudge that is forgotten is given a moment later.
    app.start(["beat", "--scheduler=celery.beat:Scheduler", f"--loglevel={settings.log_level}"])


def devnet(
    chain_dir: Annotated[
        Path | None,
        typer.Option("--chain-dir", readable=False, help="Where its blocks are kept."),
    ] = None,
    port: Port = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """A regtest Bitcoin node for demos and tests. BITCOIND_URL gives port, user and password."""
    settings = _begin("devnet", data_dir)
    address = urlsplit(settings.required_bitcoind_url)
    if not (address.username and address.password):
        raise SettingsError("BITCOIND_URL must hold a user and a password for the devnet")
    from chain.devnet import main

    folder = chain_dir or data_dir / "devnet"
    folder.mkdir(parents=True, exist_ok=True)
    main(
        [
            *("--datadir", str(folder), "--port", str(port or address.port or 18443)),
            *("--rpcuser", unquote(address.username)),
            # In one piece: a password may begin with a dash.
            f"--rpcpassword={unquote(address.password)}",
        ]
    )


def migrate(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Bring the schema of Postgres up to date. Harmless when it is; several may run at once.

    Makes a role for each process too, and the users that CONTRACTCOURT_DATABASE_LOGINS names.
    """
    settings = _begin("migrate", data_dir)
    from storage.migrate import head_revision
    from storage.migrate import migrate as bring_up
    from workers.database_logins import missing_roles, parse_logins, put_logins

    logins = parse_logins(settings.database_logins or "")
    url = settings.required_database_url
    applied = bring_up(url)
    for revision in applied:
        print(f"applied {revision}")
    print(f"the schema is at {head_revision()}")
    if absent := missing_roles(url):
        print(
            f"the user of DATABASE_URL may not make roles, and there is no {', '.join(absent)}: "
            "every process has to use this one user. Migrate as a user with CREATEROLE to change it"
        )
    _seal_plain_secrets(settings)
    put_logins(url, logins)
    for login in logins:
        print(f"user {login.user} may do what {login.role} may")


def _seal_plain_secrets(settings: Settings) -> None:
    """Webhook secrets that an earlier version stored as they are, once there is a key for them."""
    import psycopg

    from storage import node_secrets
    from tasks.webhook_key import webhook_seal

    if settings.webhook_key is None:
        return
    with psycopg.connect(settings.required_database_url) as conn:
        if sealed := node_secrets.seal_plain(conn, webhook_seal(settings)):
            print(f"sealed {sealed} webhook secrets of nodes")
