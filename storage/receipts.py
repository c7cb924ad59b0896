"""Receipts: which message ids a node has used, for what, and what was answered.

The docket keeps one key a channel; a receipt holds for the whole node, so that an id cannot name
two messages, and so that a message which concerns several channels, or none, is known again.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import args_row

from contractcourt.bitcoin.outpoint import OutPoint
from storage.database import Connection

CLAIM = """
    INSERT INTO webhook_receipts (node, message_id, digest, channel_id, seq)
    VALUES (%(node)s, %(message_id)s, %(digest)s, %(channel_id)s, %(seq)s)
    ON CONFLICT (node, message_id) DO NOTHING
"""
FIND = """
    SELECT r.digest, c.channel_point, r.seq
    FROM webhook_receipts AS r
    LEFT JOIN channels AS c ON c.id = r.channel_id
    WHERE r.node = %(node)s AND r.message_id = %(message_id)s
"""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a message id was used for. `digest` is SHA256 over the message's type and data."""

    digest: bytes
    channel_point: OutPoint | None
    seq: int | None


def claim(
    conn: Connection,
    node: str,
    message_id: str,
    digest: bytes,
    *,
    channel_id: int | None,
    seq: int | None,
) -> Receipt | None:
    """Take a message id for this message and its answer; None when it was free, else its first use.

    Waits for a transaction that is just claiming the same id. Whoever comes second must roll back
    what it did for the message.
    """
    facts = {
        "node": node,
        "message_id": message_id,
        "digest": digest,
        "channel_id": channel_id,
        "seq": seq,
    }
    if conn.execute(CLAIM, facts).rowcount:
        return None
    return find(conn, node, message_id)


def find(conn: Connection, node: str, message_id: str) -> Receipt | None:
    """The first use of a message id, if it was used."""
    with conn.cursor(row_factory=args_row(receipt_row)) as cursor:
        return cursor.execute(FIND, {"node": node, "message_id": message_id}).fetchone()


def receipt_row(digest: bytes, channel_point: bytes | None, seq: int | None) -> Receipt:
    """A row of `webhook_receipts` with its channel's lasting name."""
    return Receipt(digest, None if channel_point is None else OutPoint(channel_point), seq)
