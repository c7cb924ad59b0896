"""`contractcourt up`, from an empty folder to a court in session, and back to nothing running."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import structlog
from rich.console import Console

from contractcourt.errors import ContractCourtError
from storage import node_secrets
from storage.migrate import migrate
from storage.roles import Role
from tasks.settings import PREFIX, Settings
from tasks.webhook_key import seal_under
from workers.database_logins import DatabaseLogin, parse_logins, put_logins
from workers.embedded.ports import refusal
from workers.up import endpoints, summary
from workers.up.plan import Fleet, Stores, Tokens
from workers.up.secrets import Secrets, keep, seal_key_file
from workers.up.supervisor import StopAsked, Supervisor

_log = structlog.get_logger()

_ONE_USER = (
    "every process uses the one user of DATABASE_URL: name one for each process in "
    f"{PREFIX}DATABASE_LOGINS, and each may do in Postgres only what it needs"
)


class DataFolderUnusable(ContractCourtError):
    """The data folder cannot be used."""


class PortRefused(ContractCourtError):
    """The port that was asked for can't be had: another program listens there, or we may not."""


def run(data_dir: Path, settings: Settings, *, port: int | None = None) -> None:
    """Start everything, announce it, keep it alive until SIGINT or SIGTERM, stop it.

    Args:
        data_dir: holds all data, logs and secrets; made when missing.
        settings: from the environment alone, not from a former `endpoints.json`.
        port: of the gateway; 0 is any free one, None is the usual one or else any free one.

    Raises:
        PortRefused: another program listens there, or this user may not.
        DataFolderUnusable: not writable, or another `up` runs on it.
        ContractCourtError: a part cannot be set up or does not start; all are stopped again.
    """
    data_dir = data_dir.resolve()
    if port and (why := refusal(port)):
        raise PortRefused(f"port {port} for the gateway: {why}; choose another --port")
    with _exclusively(data_dir):
        endpoints.withdraw(data_dir)  # of a court that was killed
        logs = data_dir / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        supervisor = Supervisor(logs)
        supervisor.listen_for_signals()
        try:
            _start(supervisor, data_dir, settings, port)
            supervisor.watch()
        except StopAsked:
            _log.info("stopped before the court was in session")
        finally:
            endpoints.withdraw(data_dir)
            supervisor.stop()
        _log.info("the court has stopped, nothing of it runs any more")


def _start(supervisor: Supervisor, data_dir: Path, settings: Settings, port: int | None) -> None:
    secrets = keep(data_dir)
    tokens = Tokens(
        operator=settings.operator_token or secrets.operator_token,
        signer=settings.signer_token or secrets.signer_token,
        seal_key_file=settings.seal_key_file or seal_key_file(data_dir),
        webhook_key=settings.webhook_key or secrets.webhook_key,
    )
    stores = Stores(data_dir, settings, secrets)
    if stores.postgres:
        for folder in stores.postgres.prepare():
            _log.info("the account of Postgres may now pass this folder", folder=str(folder))
    supervisor.check_stop()
    addresses = stores.addresses(supervisor.bring_up(stores.parts()))
    applied = migrate(addresses.postgres)
    _log.info("schema is up to date", applied=applied)
    with psycopg.connect(addresses.postgres) as conn:
        node_secrets.seal_plain(conn, seal_under(tokens.webhook_key))
    logins = database_logins(settings, secrets)
    put_logins(addresses.postgres, logins)
    if not logins:
        _log.info(_ONE_USER)
    databases = {login.role: login.url(addresses.postgres) for login in logins}
    fleet = Fleet(data_dir, settings, addresses, tokens, databases)
    ports = supervisor.bring_up([fleet.signer()])
    ports |= supervisor.bring_up(fleet.workers(ports["signer"], port))
    told = endpoints.announce(data_dir, settings, addresses, tokens, ports)
    given = {
        "postgres": settings.database_url,
        "redis": settings.redis_url,
        "bitcoind": settings.bitcoind_url,
    }
    summary.show(Console(), data_dir, told, {name for name, url in given.items() if url})


def database_logins(settings: Settings, secrets: Secrets) -> tuple[DatabaseLogin, ...]:
    """The users of Postgres: those that were named, ours in an embedded one, else none."""
    if settings.database_logins:
        return parse_logins(settings.database_logins)
    if settings.database_url:
        return ()
    passwords = {
        Role.WATCHER: secrets.watcher_database_password,
        Role.GATEWAY: secrets.gateway_database_password,
        Role.WORKER: secrets.worker_database_password,
        Role.SIGNER: secrets.signer_database_password,
    }
    return tuple(
        DatabaseLogin(role, f"court_{role.name.lower()}", password)
        for role, password in passwords.items()
    )


@contextmanager
def _exclusively(data_dir: Path) -> Iterator[None]:
    """The data folder, made when missing, for one `up` at a time."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(data_dir / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataFolderUnusable(
            f"{data_dir} cannot be used ({error.strerror}): choose another --data-dir"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataFolderUnusable(
                f"another `contractcourt up` runs on {data_dir}: stop it, or choose another "
                "--data-dir"
            ) from None
        yield
    finally:
        os.close(descriptor)
