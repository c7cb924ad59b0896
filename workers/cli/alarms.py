"""`contractcourt alarms`: what somebody has to look at, and saying that it has been."""

from __future__ import annotations

from typing import Annotated

import typer

from storage import alarms as alarm_table
from workers.cli import tables
from workers.cli.access import looking, transaction
from workers.cli.exits import CommandFailed
from workers.cli.options import DEFAULT_DATA_DIR, LARGEST, AsJson, DataDir

app = typer.Typer()


@app.callback(invoke_without_command=True)
def alarms(
    context: typer.Context, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """Open alarms, the oldest first: about a channel, a node, or the court itself."""
    if context.invoked_subcommand is not None:
        return
    with looking(data_dir) as conn:
        raised = alarm_table.list_open(conn, limit=None)
    rows = [
        {
            "id": alarm.id,
            "raised_at": alarm.raised_at.isoformat(" ", "seconds"),
            "about": str(alarm.channel_point or alarm.node or "the court"),
            "kind": alarm.kind,
            "message": alarm.message,
        }
        for alarm in raised
    ]
    tables.show_records(
        ("id", "since", "about", "kind", "what happened (what to do: docs/how-to/alarms.md)"),
        rows,
        as_json=as_json,
        empty="no alarm is open",
    )


@app.command("clear")
def clear(
    ids: Annotated[
        list[int], typer.Argument(metavar="ID...", min=1, max=LARGEST, help="Of `alarms`.")
    ],
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """These have been dealt with. One whose cause is still there is raised again."""
    with transaction(data_dir) as conn:
        unknown = sorted(set(ids) - alarm_table.clear(conn, ids))
        if unknown:
            raise CommandFailed(
                f"no open alarm has the id {', '.join(map(str, unknown))}, so nothing is cleared: "
                "`contractcourt alarms` lists the open ones"
            )
    print(f"cleared: {', '.join(map(str, sorted(set(ids))))}")
