"""The proof of one channel: its docket, replayed through the law, gives the case that is stored,
and the case gives what stands in the other tables.

It begins at the channel's checkpoint, which was proved when it was made, or at the first entry.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from contractcourt.advance import advance, open_case
from contractcourt.case import Case
from contractcourt.codec import to_builtins
from contractcourt.errors import LawError
from storage import cases, channels, checkpoints, docket, docket_hashes
from storage.cases import StoredCase
from storage.checkpoints import Checkpoint
from storage.database import Connection, Database
from storage.errors import BrokenDocket
from tasks.traces import overdue, wrong_traces

#: Entries read at once. Between two pages Postgres hears nothing, for 15 s at most, and with
#: hundreds of HTLCs the law takes a tenth of a second for one.
_PAGE = 50
_LOOKS_AT_A_DOCKET = 3
_SECRET_FIELDS = frozenset({"preimages", "revocation_secrets"})
#: The field of a case that is not where it should be by now.
OVERDUE = "overdue"
_FIRED_SECONDS = 3.0
_BLANK = "differs; not shown, it holds secrets"


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the stored case of a channel is not what the law says of its docket."""

    channel_point: str
    field: str
    stored: object
    replayed: object


def prove(db: Database, channel_id: int, *, whole: bool = False) -> list[Difference]:
    """The differences of one channel.

    A first look takes no lock. Only what it finds is looked at again with the case locked, when
    no worker can be half-way between the two tables.

    Args:
        whole: begin at the first entry although there is a checkpoint.
    """
    with db.transaction() as conn:
        if not _compare(conn, channel_id, whole):
            return []
    found = _compare_locked(db, channel_id, whole)
    if any(difference.field == OVERDUE for difference in found):
        # A block came this moment, and its deadlines are fired after it.
        time.sleep(_FIRED_SECONDS)
        found = _compare_locked(db, channel_id, whole)
    return found


def _compare_locked(db: Database, channel_id: int, whole: bool) -> list[Difference]:
    with db.transaction() as conn:
        if cases.read(conn, channel_id) is not None:
            cases.lock_one(conn, channel_id)
        return _compare(conn, channel_id, whole)


def prove_on(conn: Connection, stored: StoredCase, give_up_at: float) -> tuple[int, Case] | None:
    """From the channel's checkpoint up to what `stored` has applied, or as far as the time goes.

    A docket may take longer than any task has, so it is an entry at least.

    Returns:
        The number of the entry and the case there; None: the docket is not whole, or makes another
        case than is stored.
    """
    start = checkpoints.read(conn, stored.channel_id)
    proved = None if start is None else (start.seq, start.case)
    at_the_end = True
    for proved in _replayed(conn, stored, start):
        if time.monotonic() > give_up_at:
            at_the_end = proved[0] == stored.applied_seq
            break
    if proved is None or (at_the_end and proved != (stored.applied_seq, stored.case)):
        return None
    broken = _broken_docket(conn, stored.channel_id, start, up_to=proved[0])
    return proved if broken is None else None


def replay(conn: Connection, stored: StoredCase, start: Checkpoint | None = None) -> Case | None:
    """What the law makes of the entries that `stored` has applied; None when it cannot begin."""
    case = None if start is None else start.case
    for _, replayed in _replayed(conn, stored, start):
        case = replayed
    return case


def _replayed(
    conn: Connection, stored: StoredCase, start: Checkpoint | None
) -> Iterator[tuple[int, Case]]:
    """After each of these entries its number and the case; none when the law can't begin."""
    case = None if start is None else start.case
    after = 0 if start is None else start.seq
    for entry in _entries(conn, stored.channel_id, after, stored.applied_seq):
        try:
            verdict = open_case(entry.event) if case is None else advance(case, entry.event)
            case = verdict.case
        except LawError:
            if case is None:
                return
            # Stored although the law refuses it: it changed nothing then either
            # (`tasks.arbitration` raises an alarm for it).
        yield entry.seq, case


def _compare(conn: Connection, channel_id: int, whole: bool) -> list[Difference]:
    [row] = channels.by_ids(conn, [channel_id])
    point = str(row.channel_point)
    stored = cases.read(conn, channel_id)
    if stored is None:
        return [Difference(point, "case", None, "one case for each channel")]
    start = None if whole else checkpoints.read(conn, channel_id)
    broken = _broken_docket(conn, channel_id, start)
    if broken is not None:
        return [Difference(point, "docket", broken, "every entry as it was appended")]
    replayed = replay(conn, stored, start)
    if replayed is None:
        return [Difference(point, "docket", None, "a docket that begins with channel_opened")]
    differences = _fields_that_differ(point, stored.case, replayed)
    differences += [Difference(point, *wrong) for wrong in wrong_traces(conn, row, stored.case)]
    if late := overdue(conn, row, stored.case):
        differences.append(Difference(point, *late))
    return differences


def _broken_docket(
    conn: Connection, channel_id: int, start: Checkpoint | None, *, up_to: int | None = None
) -> str | None:
    """What is wrong with the docket's hashes. An append in between looks wrong only once."""
    words = None
    for _ in range(_LOOKS_AT_A_DOCKET):
        try:
            if start is None:
                docket_hashes.verify(conn, channel_id, up_to=up_to)
            else:
                docket_hashes.verify(
                    conn, channel_id, after=start.seq, after_hash=start.hash, up_to=up_to
                )
        except BrokenDocket as broken:
            words = str(broken)
        else:
            return None
    return words


def _entries(
    conn: Connection, channel_id: int, after: int, up_to: int
) -> Iterator[docket.DocketEntry]:
    while page := docket.entries(conn, channel_id, after=after, limit=_PAGE):
        for entry in page:
            if entry.seq > up_to:
                return
            yield entry
        after = page[-1].seq


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
