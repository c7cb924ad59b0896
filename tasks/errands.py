"""What the outbox holds for a task to carry out, with the case that wanted it."""

from __future__ import annotations

from collections.abc import Sequence

from contractcourt.alarms import AlarmKind
from contractcourt.case import Case
from storage import alarms, cases, outbox
from storage.database import Connection
from storage.outbox import IllegibleRow, OutboxRow
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
                _set_aside(conn, found)
        known = cases.legible(conn, [row.channel_id for row in rows])
        for row in rows:
            if row.channel_id not in known:
                outbox.mark_unanswered(conn, row.id, "this version can't read its case")
        return [(row, known[row.channel_id]) for row in rows if row.channel_id in known]

    return held.db.run(read)


def _set_aside(conn: Connection, row: IllegibleRow) -> None:
    why = f"this version can't read it: {row.why}"
    outbox.mark_unanswered(conn, row.id, why)
    alarms.raise_alarm(conn, row.channel_id, AlarmKind.NOT_SIGNED, f"{row.kind} {row.id}: {why}")
