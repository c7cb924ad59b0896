"""All commands under one name."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from workers.cli.exits import MEANINGS

_LOCAL = "A whole court on this machine"
_LOOK = "Look"
_ACT = "Act"
_FLEET = "One process of a fleet"

# Command -> (panel of --help, module, function or Typer). Only what is asked for is imported:
# a process of the fleet starts in half the time, and holds no other process's code.
_COMMANDS: dict[str, tuple[str | None, str, str]] = {
    "demo": (_LOCAL, "local", "demo"),
    "up": (_LOCAL, "local", "up"),
    "replay": (_LOCAL, "local", "replay"),
    "watch": (_LOOK, "watch", "watch"),
    "channels": (_LOOK, "look", "channels"),
    "channel": (_LOOK, "look", "channel"),
    "docket": (_LOOK, "look", "docket"),
    "account": (_LOOK, "account", "account"),
    "deadlines": (_LOOK, "look", "deadlines"),
    "alarms": (_LOOK, "alarms", "app"),
    "audit": (_LOOK, "audit", "audit"),
    "doctor": (_LOOK, "local", "doctor"),
    "force-close": (_ACT, "act", "force_close"),
    "node": (_ACT, "act", "node"),
    "keys": (_ACT, "act", "keys"),
    "sweep": (_ACT, "sweep", "app"),
    "webhooks": (_ACT, "webhooks", "app"),
    "migrate": (_FLEET, "fleet", "migrate"),
    "watcher": (_FLEET, "fleet", "watcher"),
    "gateway": (_FLEET, "fleet", "gateway"),
    "worker": (_FLEET, "fleet", "worker"),
    "beat": (_FLEET, "fleet", "beat"),
    "signer": (_FLEET, "fleet", "signer"),
    "devnet": (_FLEET, "fleet", "devnet"),
    "ready": (None, "ready", "ready"),
}

#: Command -> what one may type; --help and docs/reference/cli.md show them.
_EXAMPLES = {
    "up": ("contractcourt up --data-dir ./court --workers 4",),
    "watch": (
        "contractcourt watch",
        "contractcourt watch --once --json",
    ),
    "channels": (
        "contractcourt channels --node alice --state waiting_full_resolution",
        "contractcourt channels --json | jq -r '.[].channel_point'",
    ),
    "channel": ("contractcourt channel TXID:VOUT",),
    "docket": ("contractcourt docket TXID:VOUT --after 40",),
    "deadlines": ("contractcourt deadlines --limit 10",),
    "alarms": (
        "contractcourt alarms",
        "contractcourt alarms clear 7",
    ),
    "audit": ("contractcourt audit && echo every case is what the law says",),
    "force-close": ('contractcourt force-close TXID:VOUT --reason "the peer is gone"',),
    "node": (
        "contractcourt node add alice --sweep-script 0014...",
        "contractcourt node rotate-secret alice --overlap 3600",
        "contractcourt node webhook-url alice https://alice.example.org/court",
        "contractcourt node policy alice --set final_depth=3",
    ),
    "keys": ("contractcourt keys import alice-channel.json && shred -u alice-channel.json",),
    "sweep": (
        "contractcourt sweep list",
        "contractcourt sweep release TXID:VOUT",
    ),
    "worker": (
        "contractcourt worker --concurrency 4",
        "contractcourt worker --queues arbitrate --name arbiter@%h",
    ),
}

_HELP = (
    "A contract court for Lightning channels that runs outside the nodes.\n\n"
    f"Exit codes: {'; '.join(f'{code.value} {words}' for code, words in MEANINGS.items())}."
)


def _say_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("contractcourt"))
        raise typer.Exit


def _every_command(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Say which one this is."
        ),
    ] = False,
) -> None:
    """What stands before a command."""


def application(arguments: Sequence[str]) -> typer.Typer:
    """The command line for these arguments: the one command they name, or all of them."""
    app = typer.Typer(
        name="contractcourt",
        help=_HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    # A callback keeps the name of a command necessary when it is the only one.
    app.callback()(_every_command)
    asked = arguments[0] if arguments else ""
    for name in [asked] if asked in _COMMANDS else _COMMANDS:
        panel, module, attribute = _COMMANDS[name]
        command = getattr(import_module(f"workers.cli.{module}"), attribute)
        # A blank line ends a paragraph of --help, and so keeps each example on its own line.
        examples = "\n\n".join(("Examples:", *_EXAMPLES[name])) if name in _EXAMPLES else None
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, rich_help_panel=panel, epilog=examples)
        else:
            hidden = panel is None
            app.command(name, rich_help_panel=panel, epilog=examples, hidden=hidden)(command)
    return app
