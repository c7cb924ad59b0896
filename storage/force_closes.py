"""Force closes as asked for: one a channel is open at most, whoever asks how often (P3).

A channel's first request is accepted, and stays the one that counts; each later one is dropped
and answered with the first one's time and txid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import args_row

from contractcourt.units import Txid
from storage.database import Connection

#: The partial unique index settles a race; the second clause leaves a concluded one in force.
REQUEST = """
    INSERT INTO force_closes (channel_id, idempotency_key, requested_by, reason)
    SELECT %(channel_id)s, %(key)s, %(requested_by)s, %(reason)s
    WHERE NOT EXISTS (SELECT 1 FROM force_closes WHERE channel_id = %(channel_id)s)
    ON CONFLICT DO NOTHING
    RETURNING id
"""
FIND = """
    SELECT channel_id, idempotency_key, requested_by, reason, requested_at, closing_txid,
           concluded_at
    FROM force_closes
    WHERE channel_id = %(channel_id)s
    ORDER BY id DESC
    LIMIT 1
"""
SET_CLOSING_TXID = """
    UPDATE force_closes SET closing_txid = %(txid)s
    WHERE channel_id = %(channel_id)s AND concluded_at IS NULL
"""
CONCLUDE = """
    UPDATE force_closes SET concluded_at = clock_timestamp()
    WHERE channel_id = ANY(%(channel_ids)s) AND concluded_at IS NULL
"""
REOPEN = """
    UPDATE force_closes SET concluded_at = NULL
    WHERE id = (SELECT max(id) FROM force_closes WHERE channel_id = %(channel_id)s)
"""


@dataclass(frozen=True, slots=True)
class ForceCloseRow:
    """The force close of a channel, as first asked for.

    `accepted`: the request that was just made is this one (also when it is made again under the
    same idempotency key); False: it came later and was dropped.
    """

    requested_at: datetime
    requested_by: str
    reason: str
    accepted: bool
    closing_txid: Txid | None
    concluded: bool


def request(
    conn: Connection, channel_id: int, *, requested_by: str, reason: str, idempotency_key: str
) -> ForceCloseRow:
    """Ask for a force close; the one that counts. Waits for nothing but a concurrent first."""
    facts = {
        "channel_id": channel_id,
        "key": idempotency_key,
        "requested_by": requested_by,
        "reason": reason,
    }
    conn.execute(REQUEST, facts)
    standing = find(conn, channel_id, idempotency_key)
    assert standing is not None
    return standing


def set_closing_txid(conn: Connection, channel_id: int, txid: Txid) -> None:
    """The commitment that the open force close publishes."""
    conn.execute(SET_CLOSING_TXID, {"channel_id": channel_id, "txid": txid})


def conclude(conn: Connection, channel_ids: Sequence[int]) -> None:
    """These channels are closed, by this or by another transaction."""
    if channel_ids:
        conn.execute(CONCLUDE, {"channel_ids": list(channel_ids)})


def reopen(conn: Connection, channel_id: int) -> None:
    """A reorg took the close back: the request stands again."""
    conn.execute(REOPEN, {"channel_id": channel_id})


def find(
    conn: Connection, channel_id: int, idempotency_key: str | None = None
) -> ForceCloseRow | None:
    """The force close of a channel, if anybody ever asked for one, as it answers to this key."""

    def row(
        _channel_id: int,
        first_key: str,
        requested_by: str,
        reason: str,
        requested_at: datetime,
        closing_txid: bytes | None,
        concluded_at: datetime | None,
    ) -> ForceCloseRow:
        return ForceCloseRow(
            requested_at=requested_at,
            requested_by=requested_by,
            reason=reason,
            accepted=first_key == idempotency_key,
            closing_txid=None if closing_txid is None else Txid(closing_txid),
            concluded=concluded_at is not None,
        )

    with conn.cursor(row_factory=args_row(row)) as cursor:
        return cursor.execute(FIND, {"channel_id": channel_id}).fetchone()
