"""All commands under one name."""

from __future__ import annotations

from collections.abc import Callable

import typer

from workers.cli import act, audit, fleet, local, look, ready

_LOCAL = "A whole court on this machine"
_LOOK = "Look"
_ACT = "Act"
_FLEET = "One process of a fleet"

_COMMANDS: tuple[tuple[str, str, Callable[..., None]], ...] = (
    (_LOCAL, "demo", local.demo),
    (_LOCAL, "up", local.up),
    (_LOCAL, "replay", local.replay),
    (_LOOK, "channels", look.channels),
    (_LOOK, "channel", look.channel),
    (_LOOK, "docket", look.docket),
    (_LOOK, "deadlines", look.deadlines),
    (_LOOK, "audit", audit.audit),
    (_LOOK, "doctor", local.doctor),
    (_ACT, "force-close", act.force_close),
    (_FLEET, "migrate", fleet.migrate),
    (_FLEET, "watcher", fleet.watcher),
    (_FLEET, "gateway", fleet.gateway),
    (_FLEET, "worker", fleet.worker),
    (_FLEET, "beat", fleet.beat),
    (_FLEET, "signer", fleet.signer),
    (_FLEET, "devnet", fleet.devnet),
)

application = typer.Typer(
    name="contractcourt",
    help=(
        "A contract court for Lightning channels that runs outside the nodes.\n\n"
        "Exit codes: 0 done; 1 it could not be done, or audit or doctor found something; "
        "2 wrong arguments or settings; 3 Postgres, Redis, the Bitcoin node or the signer "
        "does not answer."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for panel, name, command in _COMMANDS:
    application.command(name, rich_help_panel=panel)(command)
application.add_typer(act.node, name="node", rich_help_panel=_ACT)
application.add_typer(act.keys, name="keys", rich_help_panel=_ACT)
application.command("ready", hidden=True)(ready.ready)
