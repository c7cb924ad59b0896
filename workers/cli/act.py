"""Acting: register nodes, hand over keys, ask for a force close."""

from __future__ import annotations

import getpass
import os
import re
import sys
import uuid
from pathlib import Path
from typing import Annotated

import typer

from contractcourt.bitcoin.script import is_standard_sweep
from contractcourt.units import Script
from storage import node_secrets, nodes
from tasks import moving
from tasks.destinations import DestinationRefused, destination
from tasks.environment import load_settings
from tasks.settings import LONGEST_OVERLAP_SECONDS
from tasks.signer_client import SignerClient
from tasks.webhook_key import webhook_seal
from workers.cli import tables
from workers.cli.access import find, transaction
from workers.cli.exits import CommandFailed
from workers.cli.node_policy import policy
from workers.cli.options import (
    DEFAULT_DATA_DIR,
    AsJson,
    ChannelPoint,
    DataDir,
    NodeName,
    SweepScripts,
)
from workers.cli.waking import wake_for_letters, wake_workers

node = typer.Typer(no_args_is_help=True, help="Register the nodes that the court serves.")
node.command("policy")(policy)
keys = typer.Typer(no_args_is_help=True, help="Hand the signer a channel's or a node's secrets.")

Name = Annotated[str, typer.Argument(metavar="NAME")]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@node.command("add")
def add_node(
    name: Name,
    sweep_scripts: SweepScripts,
    webhook_url: Annotated[
        str | None, typer.Option("--webhook-url", help="Where the node takes our webhooks.")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Register a node. Prints its webhook secret, once: keep it where the node finds it."""
    _check_name(name)
    _check_sweep_scripts(sweep_scripts)
    if webhook_url is not None:
        _check_webhook_url(webhook_url, data_dir)
    seal = webhook_seal(load_settings(data_dir=data_dir))
    with transaction(data_dir) as conn:
        nodes.add_node(conn, name, sweep_scripts, webhook_url)
        secret = node_secrets.issue(conn, seal, name)
    _show_secret(name, secret, as_json=as_json)


@node.command("list")
def list_nodes(as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """The registered nodes, without their secrets."""
    with transaction(data_dir) as conn:
        known, valid = nodes.list_nodes(conn), node_secrets.counts(conn)
    if as_json:
        tables.write_json(
            [
                {
                    "name": one.name,
                    "sweep_scripts": [str(script) for script in one.sweep_scripts],
                    "webhook_url": one.webhook_url,
                    "valid_secrets": valid.get(one.name, 0),
                    "created_at": one.created_at.isoformat(),
                }
                for one in known
            ]
        )
        return
    tables.show(
        ("name", "sweeps to", "webhooks to", "valid secrets", "since"),
        (
            (
                one.name,
                "\n".join(str(script) for script in one.sweep_scripts),
                one.webhook_url,
                valid.get(one.name, 0),
                one.created_at.isoformat(" ", "minutes"),
            )
            for one in known
        ),
        empty="no node: contractcourt node add NAME --sweep-script HEX",
    )


@node.command("rotate-secret")
def rotate_secret(
    name: NodeName,
    overlap: Annotated[
        int | None,
        typer.Option(
            "--overlap",
            min=0,
            max=LONGEST_OVERLAP_SECONDS,
            help="Seconds that the present one stays valid. [86400]",
        ),
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """A new webhook secret, printed once; the present one stays valid for a while beside it."""
    settings = load_settings(data_dir=data_dir)
    if overlap is None:
        overlap = settings.secret_overlap_seconds
    with transaction(data_dir) as conn:
        secret = node_secrets.rotate(conn, webhook_seal(settings), name, overlap)
    _show_secret(name, secret, as_json=as_json)


@node.command("webhook-url")
def webhook_url(
    name: NodeName,
    url: Annotated[
        str | None,
        typer.Argument(metavar="[URL]", help="Where the node takes our webhooks from now on."),
    ] = None,
    none: Annotated[
        bool, typer.Option("--none", help="Nowhere: the node reads the docket instead.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Change where a node takes our webhooks. Those that wait for it go there, at once.

    With --none they are done unsent, as all later ones are: the docket has what they said.
    """
    if (url is None) != none:
        raise typer.BadParameter("give the new address, or --none")
    if url is not None:
        _check_webhook_url(url, data_dir)
    with transaction(data_dir) as conn:
        moved = moving.move(conn, name, url)
    woken = wake_for_letters(data_dir, name) if moved else True
    if as_json:
        tables.write_json({"name": name, "webhook_url": url, "changed": moved})
        return
    words = "takes no webhooks" if url is None else f"takes its webhooks at {url}"
    print(f"node {name} {words}{'' if moved else ', as before'}")
    if not woken:
        print("Redis does not answer: the workers will find it at their next round")


@keys.command("import")
def import_keys(
    file: Annotated[
        typer.FileBinaryRead,
        typer.Argument(metavar="FILE", help="With - it is read from stdin."),
    ],
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Hand the signer the secrets in FILE (JSON), which it seals at rest. Delete FILE afterwards.

    Of a channel: channel_point, funding_key, revocation_base_key, payment_key,
    delayed_payment_base_key, htlc_base_key, commitment_seed. Of a splice that brought a new funding
    key: channel_point, splice_funding_key. Of an lnd node: node, lnd_root_key.
    Of a node's fee wallet: node, fee_wallet (a descriptor, as bitcoin-cli listdescriptors true
    prints one: wpkh(xprv.../0/*)#checksum).
    """
    settings = load_settings(data_dir=data_dir)
    with SignerClient(settings.required_signer_url, settings.required_signer_token) as signer:
        imported = signer.import_keys(file.read())
    rest = "" if file is sys.stdin.buffer else f"; delete {file.name} now"
    print(f"imported: {imported}. The signer keeps it sealed{rest}")


def force_close(
    channel_point: ChannelPoint,
    reason: Annotated[str, typer.Option("--reason", help="For the docket.")] = "",
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Ask for our commitment to be published. A second request is dropped and says so."""
    from workers.gateway import closing
    from workers.gateway.fields import A_REASON, is_reason
    from workers.gateway.problems import Problem

    if not is_reason(reason):
        raise typer.BadParameter(f"--reason: {A_REASON}")
    try:
        with transaction(data_dir) as conn:
            asked = closing.ask(
                conn,
                find(conn, channel_point),
                requested_by=f"operator:{_user()}",
                reason=reason,
                key=f"cli:{uuid.uuid4()}",
                source="operator",
            )
    except Problem as problem:
        raise CommandFailed(problem.detail) from problem
    woken = wake_workers(data_dir, asked.wake_up)
    answer = asked.answer
    if as_json:
        tables.write_json(answer.model_dump(mode="json"))
        return
    if answer.outcome == "accepted":
        print("accepted: our commitment will be published")
    else:
        print("dropped: the channel is closed, or somebody asked before")
    if answer.requested_at is not None:
        print(f"asked at {answer.requested_at}")
    if answer.closing_txid is not None:
        print(f"closing transaction {answer.closing_txid}")
    if not woken:
        print("Redis does not answer: the workers will find the request at their next round")


def _user() -> str:
    """Who gives the command; by number where the system has no name for him, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise typer.BadParameter(
            "a node's name is 1 to 63 letters, digits, dots, dashes or underscores, and begins "
            "with a letter or digit"
        )


def _check_sweep_scripts(scripts: list[Script]) -> None:
    for script in scripts:
        if not is_standard_sweep(script):
            raise typer.BadParameter(
                f"{script} is not a P2WPKH, P2WSH, P2TR, P2PKH or P2SH scriptPubKey: a node of "
                "the network would not relay a sweep to it. Give the scriptPubKey in hex, not an "
                "address (bitcoin-cli getaddressinfo ADDRESS shows it)"
            )


def _check_webhook_url(url: str, data_dir: Path) -> None:
    """What an address says by itself; what its name resolves to is looked at before each letter."""
    allow_private = load_settings(data_dir=data_dir).allow_private_webhooks
    try:
        destination(url, allow_private=allow_private)
    except DestinationRefused as refused:
        raise typer.BadParameter(f"{url!r}: {refused}") from None


def _show_secret(name: str, secret: str, *, as_json: bool) -> None:
    if as_json:
        tables.write_json({"name": name, "webhook_secret": secret})
        return
    print(f"node {name}; its webhook secret, shown this once:\n{secret}")
