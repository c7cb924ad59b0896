"""The proof: every docket replayed through the law gives the case that is stored."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Annotated

import typer

from contractcourt.bitcoin.outpoint import OutPoint
from storage import channels
from storage.database import Database
from tasks.proof import OVERDUE, Difference, prove
from workers.cli import tables
from workers.cli.access import database, find
from workers.cli.completion import complete_channel_point
from workers.cli.exits import Exit
from workers.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, channel_point_of

_PAGE = 500
_MOST_SHOWN = 1_000
_SAY_EVERY_SECONDS = 5.0


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
    audited = _Audited()
    with database(data_dir) as db:
        for channel_id in _channel_ids(db, channel_point):
            audited.take(prove(db, channel_id, whole=whole))
    done = f"{tables.counted(audited.channels, 'channel')} audited"
    if as_json:
        tables.write_json(
            {
                "audited": audited.channels,
                "overdue": audited.overdue,
                "differences": [asdict(difference) for difference in audited.found],
                "more": audited.more,
            }
        )
    else:
        tables.show(
            ("channel point", "field", "stored", "the law says"),
            ((d.channel_point, d.field, d.stored, d.replayed) for d in audited.found),
            empty=f"{done}, no difference, 0 overdue",
        )
        if audited.more:
            print(f"and {audited.more} more differences")
    raise typer.Exit(Exit.FAILED if audited.found else Exit.OK)


@dataclass
class _Audited:
    """What was found so far; as much as anybody reads, whatever the court holds."""

    channels: int = 0
    overdue: int = 0
    more: int = 0
    found: list[Difference] = field(default_factory=list)
    said_at: float = field(default_factory=time.monotonic)

    def take(self, differences: list[Difference]) -> None:
        """One more channel; every few seconds a word of how far we are."""
        self.channels += 1
        self.overdue += sum(difference.field == OVERDUE for difference in differences)
        room = _MOST_SHOWN - len(self.found)
        self.found += differences[:room]
        self.more += len(differences[room:])
        if time.monotonic() - self.said_at >= _SAY_EVERY_SECONDS:
            self.said_at = time.monotonic()
            print(
                f"contractcourt: {tables.counted(self.channels, 'channel')} audited so far",
                file=sys.stderr,
            )


def _channel_ids(db: Database, channel_point: OutPoint | None) -> Iterator[int]:
    """One channel's id, or all of them: a page a transaction, so that no snapshot is held."""
    if channel_point is not None:
        with db.transaction() as conn:
            channel_id = find(conn, channel_point).id
        yield channel_id
        return
    after = 0
    while True:
        with db.looking() as conn:
            page = channels.list_channels(conn, after=after, limit=_PAGE)
        if not page:
            return
        yield from (row.id for row in page)
        after = page[-1].id
