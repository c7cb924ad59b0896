"""What the outbox holds for a task to carry out, with the case that wanted it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from contractcourt.alarms import AlarmKind
from contractcourt.case import Case
from storage import alarms, cases, outbox
from storage.database import Connection
from storage.outbox import IllegibleRow, OutboxRow
from tasks.arbitration import OF_A_CHANNEL, in_words, lies_in_a_channel
from tasks.resources import Resources


def take(held: Resources, ids: Sequence[int], *kinds: str) -> list[tuple[OutboxRow, Case]]:
    """Unsent rows of these kinds, each with its channel's case as last committed.

    They are not held while carried out: carrying one out twice is harmless, and no transaction
    stays open while somebody else is asked. Those that only another version can read, or whose
    case, are left to it.
    """

    def read(conn: Connection) -> list[tuple[OutboxRow, Case]]:
        rows: list[OutboxRow] = []
        for found in outbox.take(conn, ids, list(kinds)):
            if isinstance(found, OutboxRow):
                rows.append(found)
            else:
                _set_aside(conn, found, f"this version can't read it: {found.why}")
        known = cases.legible(conn, [row.channel_id for row in rows])
        for row in rows:
            if row.channel_id not in known:
                outbox.mark_unanswered(conn, row.id, "this version can't read its case")
        return [(row, known[row.channel_id]) for row in rows if row.channel_id in known]

    return held.db.run(read)


def one_by_one(
    held: Resources,
    taken: Sequence[tuple[OutboxRow, Case]],
    carry_out: Callable[[OutboxRow, Case], None],
) -> None:
    """Carry these out; what lies in one of them, or in its case, keeps no other waiting."""
    for row, case in taken:
        try:
            carry_out(row, case)
        except OF_A_CHANNEL as broken:
            if not lies_in_a_channel(broken):
                raise
            held.db.run(partial(_set_aside, row=row, why=in_words(broken)))


def _set_aside(conn: Connection, row: OutboxRow | IllegibleRow, why: str) -> None:
    outbox.mark_unanswered(conn, row.id, why)
    alarms.raise_alarm(conn, row.channel_id, AlarmKind.NOT_SIGNED, f"{row.kind} {row.id}: {why}")
