"""The proof: every docket replayed through the law gives the case that is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer

from contractcourt.bitcoin.outpoint import OutPoint
from storage import channels
from storage.database import Database
from tasks.proof import Difference, prove
from workers.cli import tables
from workers.cli.access import database, find
from workers.cli.completion import complete_channel_point
from workers.cli.exits import Exit
from workers.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, channel_point_of

_PAGE = 500


def audit(
    channel_point: Annotated[
        OutPoint | None,
        typer.Argument(
            metavar="[CP]",
            parser=channel_point_of,
            autocompletion=complete_channel_point,
            help="One channel; else all.",
        ),
    ] = None,
    whole: Annotated[
        bool,
        typer.Option(
            "--whole", help="From the first entry, also where a checkpoint proves the earlier ones."
        ),
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Replay dockets through the law and compare with the stored cases; exit 1 on a difference."""
    audited = 0
    found: list[Difference] = []
    with database(data_dir) as db:
        for channel_id in _channel_ids(db, channel_point):
            audited += 1
            found += prove(db, channel_id, whole=whole)
    if as_json:
        differences = [asdict(difference) for difference in found]
        tables.write_json({"audited": audited, "differences": differences})
    else:
        tables.show(
            ("channel point", "field", "stored", "the law says"),
            ((d.channel_point, d.field, d.stored, d.replayed) for d in found),
            empty=f"{audited} channels audited, no difference",
        )
    raise typer.Exit(Exit.FAILED if found else Exit.OK)


def _channel_ids(db: Database, channel_point: OutPoint | None) -> Iterator[int]:
    """One channel's id, or all of them: a page a transaction, so that no snapshot is held."""
    if channel_point is not None:
        with db.transaction() as conn:
            channel_id = find(conn, channel_point).id
        yield channel_id
        return
    after = 0
    while True:
        with db.transaction() as conn:
            page = channels.list_channels(conn, after=after, limit=_PAGE)
        if not page:
            return
        yield from (row.id for row in page)
        after = page[-1].id
