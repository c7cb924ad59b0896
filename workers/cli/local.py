"""A whole court on this machine: the story, the supervisor, the replay, the check-up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tasks import logs
from tasks.environment import load_settings
from workers.cli.exits import Exit
from workers.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir


def demo() -> None:
    """Tell the story: every kind of close, a worker killed half-way, all resolved at the end."""
    from workers import demo as story

    raise typer.Exit(story.run() or Exit.OK)


def up(
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="Of the gateway; 0 is any free one."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=256, help="Worker processes. [2]")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Start everything; embedded Postgres, Redis and regtest chain where no URL is given."""
    from workers import up as room

    given = {} if workers is None else {"worker_concurrency": workers}
    settings = load_settings(from_endpoints=False, data_dir=data_dir, **given)
    by_hand = sys.stderr.isatty() and "log_format" not in settings.model_fields_set
    fmt = "console" if by_hand else settings.log_format
    logs.configure("up", level=settings.log_level, fmt=fmt, stream=sys.stderr)
    room.run(data_dir, settings, port=port)


def replay(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", exists=True, file_okay=False, help="Recorded closings."),
    ],
    json_path: Annotated[
        Path | None,
        typer.Option("--json", dir_okay=False, help="Write what came of each to this file."),
    ] = None,
) -> None:
    """Replay recorded closings of real channels, each through a court of its own."""
    from workers import replay as room

    if json_path is not None:
        try:
            json_path.touch()
        except OSError as error:
            # Before the minutes that it takes, not after them.
            raise typer.BadParameter(f"{json_path} can't be written: {error.strerror}") from None
    raise typer.Exit(room.run(folder, json_path) or Exit.OK)


def doctor(as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Check every dependency and say in plain words what is wrong; exit 1 when anything is."""
    from workers import doctor as room
    from workers.cli.tables import show_findings, write_json

    findings = room.examine(load_settings(data_dir=data_dir))
    if as_json:
        write_json([finding.as_dict() for finding in findings])
    else:
        show_findings(findings)
    raise typer.Exit(Exit.FAILED if any(f.is_wrong for f in findings) else Exit.OK)
