"""Where a channel's force close stands on its docket."""

from __future__ import annotations

from storage.database import Connection

FIND = """
    SELECT min(seq) FROM docket_history
    WHERE channel_id = %(channel_id)s AND kind = 'force_close_requested'
"""


def find(conn: Connection, channel_id: int) -> int | None:
    """The number of the first request's entry; None if nobody asked."""
    row = conn.execute(FIND, {"channel_id": channel_id}).fetchone()
    return None if row is None else row[0]
