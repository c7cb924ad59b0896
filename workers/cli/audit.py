"""The proof: every docket replayed through the law gives the case that is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from contractcourt.advance import advance, open_case
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.case import Case
from contractcourt.codec import to_builtins
from contractcourt.errors import LawError
from storage import cases, channels, docket
from storage.cases import StoredCase
from storage.database import Connection, Database
from storage.errors import BrokenDocket
from workers.cli import tables
from workers.cli.access import database, find
from workers.cli.exits import Exit
from workers.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, channel_point_of

_PAGE = 500
_LOOKS_AT_A_DOCKET = 3
_SECRET_FIELDS = frozenset({"preimages", "revocation_secrets"})
_BLANK = "differs; not shown, it holds secrets"


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the stored case of a channel is not what the law says of its docket."""

    channel_point: str
    field: str
    stored: object
    replayed: object


def audit(
    channel_point: Annotated[
        OutPoint | None,
        typer.Argument(metavar="[CP]", parser=channel_point_of, help="One channel; else all."),
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Replay dockets through the law and compare with the stored cases; exit 1 on a difference."""
    audited = 0
    found: list[Difference] = []
    with database(data_dir) as db:
        for channel_id in _channel_ids(db, channel_point):
            audited += 1
            found += audit_channel(db, channel_id)
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


def audit_channel(db: Database, channel_id: int) -> list[Difference]:
    """The differences of one channel.

    A first look takes no lock. Only what it finds is looked at again with the case locked, when
    no worker can be half-way between the two tables.
    """
    with db.transaction() as conn:
        if not _compare(conn, channel_id):
            return []
    with db.transaction() as conn:
        if cases.read(conn, channel_id) is not None:
            cases.lock_one(conn, channel_id)
        return _compare(conn, channel_id)


def _compare(conn: Connection, channel_id: int) -> list[Difference]:
    [row] = channels.by_ids(conn, [channel_id])
    point = str(row.channel_point)
    stored = cases.read(conn, channel_id)
    if stored is None:
        return [Difference(point, "case", None, "one case for each channel")]
    broken = _broken_docket(conn, channel_id)
    if broken is not None:
        return [Difference(point, "docket", broken, "every entry as it was appended")]
    replayed = replay(conn, stored)
    if replayed is None:
        return [Difference(point, "docket", None, "a docket that begins with channel_opened")]
    differences = _fields_that_differ(point, stored.case, replayed)
    if row.state is not stored.case.state:
        differences.append(
            Difference(point, "channels.state", row.state.value, stored.case.state.value)
        )
    return differences


def _broken_docket(conn: Connection, channel_id: int) -> str | None:
    """What is wrong with the docket's hashes. An append in between looks wrong only once."""
    words = None
    for _ in range(_LOOKS_AT_A_DOCKET):
        try:
            docket.verify(conn, channel_id)
        except BrokenDocket as broken:
            words = str(broken)
        else:
            return None
    return words


def replay(conn: Connection, stored: StoredCase) -> Case | None:
    """What the law makes of the entries that `stored` has applied; None when it cannot begin."""
    case: Case | None = None
    for entry in _entries(conn, stored.channel_id, stored.applied_seq):
        if case is None:
            try:
                case = open_case(entry.event).case
            except LawError:
                return None
            continue
        try:
            case = advance(case, entry.event).case
        except LawError:
            # Stored although the law refuses it: it changed nothing then either
            # (`tasks.arbitration` raises an alarm for it).
            continue
    return case


def _entries(conn: Connection, channel_id: int, up_to: int) -> Iterator[docket.DocketEntry]:
    after = 0
    while page := docket.entries(conn, channel_id, after=after, limit=_PAGE):
        for entry in page:
            if entry.seq > up_to:
                return
            yield entry
        after = page[-1].seq


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


def _fields_that_differ(point: str, stored: Case, replayed: Case) -> list[Difference]:
    if stored == replayed:
        return []
    before, after = to_builtins(stored), to_builtins(replayed)
    return [
        Difference(point, name, _BLANK, _BLANK)
        if name in _SECRET_FIELDS
        else Difference(point, name, before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
