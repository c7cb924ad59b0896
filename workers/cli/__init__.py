"""The command line: `contractcourt`, or `python -m workers.cli`.

May import everything; nothing imports it. `application` gathers the commands, `local` starts a
whole court, `fleet` starts one process of it, `look` shows, `act` changes, `audit` proves, and
`exits` says what each exit code means and turns errors into plain words. Every command imports
what it needs when it runs, so that `--help` is quick and one process loads no other's code.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave the interpreter with its exit code (`exits.Exit`)."""
    from workers.cli.exits import explain

    given = sys.argv[1:] if arguments is None else list(arguments)
    with explain():
        # Here, since Ctrl-C may come while they are read in.
        from tasks import logs
        from workers.cli.application import application

        # stdout is for what was asked; a process of the fleet sets up its own logs.
        logs.configure("cli", level="warning", fmt="console", stream=sys.stderr)
        application(given)(args=given, prog_name="contractcourt")
