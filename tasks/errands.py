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
    stays open while somebody else is asked.
    """

    def read(conn: Connection) -> list[tuple[OutboxRow, Case]]:
        found = []
        for row in outbox.take(conn, ids, list(kinds)):
            stored = cases.read(conn, row.channel_id)
            if stored is not None:
                found.append((row, stored.case))
        return found

    return held.db.run(read)
