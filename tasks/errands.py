"""What the outbox holds for a task to carry out, with the case that wanted it."""

from __future__ import annotations

from collections.abc import Sequence

from contractcourt.case import Case
from storage import cases, outbox
from storage.database import Connection
from storage.outbox import OutboxRow
from tasks.resources import Resources


def take(held: Resources, ids: Sequence[int], *kinds: str) -> list[tuple[OutboxRow, Case]]:
    """Unsent rows of these kinds, each with its channel's case as last committed.

    They are not held while carried out: carrying one out twice is harmless, and no transaction
    stays open while somebody else is asked. Those whose case only another version can read are
    left to it.
    """

    def read(conn: Connection) -> list[tuple[OutboxRow, Case]]:
        rows = outbox.take(conn, ids, list(kinds))
        known = cases.legible(conn, [row.channel_id for row in rows])
        for row in rows:
            if row.channel_id not in known:
                outbox.mark_unanswered(conn, row.id, "this version can't read its case")
        return [(row, known[row.channel_id]) for row in rows if row.channel_id in known]

    return held.db.run(read)
