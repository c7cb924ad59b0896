"""The hashes of a docket: each covers the one before, so that a changed or missing entry shows."""

from __future__ import annotations

import hashlib

from storage.database import Connection
from storage.errors import BrokenDocket

#: What the first entry's hash covers in place of an entry before it.
GENESIS_HASH = bytes(32)

#: Each with where the docket ends, in one look: what comes meanwhile is in neither.
HASHED_ENTRIES = """
    SELECT seq, idempotency_key, source, payload, hash,
           (SELECT last_seq FROM docket_heads WHERE channel_id = %(channel_id)s),
           (SELECT last_hash FROM docket_heads WHERE channel_id = %(channel_id)s)
    FROM docket_history
    WHERE channel_id = %(channel_id)s AND seq > %(after)s
      AND (%(up_to)s::bigint IS NULL OR seq <= %(up_to)s)
    ORDER BY seq
"""
HEAD = "SELECT last_seq, last_hash FROM docket_heads WHERE channel_id = %(channel_id)s"


def chained_hash(prev_hash: bytes, seq: int, key: str, source: str, payload: str) -> bytes:
    """SHA256 over the hash before, the number, and each text with its length before it."""
    hasher = hashlib.sha256(prev_hash + seq.to_bytes(8, "big"))
    for text in (key, source, payload):
        raw = text.encode()
        hasher.update(len(raw).to_bytes(8, "big") + raw)
    return hasher.digest()


def verify(
    conn: Connection,
    channel_id: int,
    *,
    after: int = 0,
    after_hash: bytes = GENESIS_HASH,
    up_to: int | None = None,
) -> int:
    """Hash a channel's docket again, from its first entry or from a checkpoint; its last number.

    Args:
        up_to: the last entry to look at; None: the one at which the docket ends.

    Raises:
        BrokenDocket: an entry is missing, or is not what was appended.
    """
    facts = {"channel_id": channel_id, "after": after, "up_to": up_to}
    last_seq, last_hash = after, after_hash
    head: list[int | bytes] = []
    # On the server, page by page: a docket may be longer than memory.
    with conn.cursor("hashed_entries") as entries_in_order:
        entries_in_order.itersize = 1_000
        entries_in_order.execute(HASHED_ENTRIES, facts)
        for seq, key, source, payload, stored, *ends_at in entries_in_order:
            head = ends_at
            last_hash = chained_hash(last_hash, seq, key, source, payload)
            if seq != last_seq + 1 or stored != last_hash:
                raise BrokenDocket(f"entry {seq} of channel {channel_id} is not what was appended")
            last_seq = seq
    if up_to is not None:
        head = [up_to, last_hash]
    elif not head:
        head = list(conn.execute(HEAD, facts).fetchone() or ())
    if head != [last_seq, last_hash]:
        raise BrokenDocket(f"the docket of channel {channel_id} does not end at its head")
    return last_seq
