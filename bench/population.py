"""Channels by the million, as far as a watcher sees them: made inside Postgres.

Rows as the court writes them when a channel is opened, but no docket entries and no cases: nothing
here is ever advanced.
"""

from __future__ import annotations

from storage.database import Database
from tests.storage import examples

_BATCH = 50_000

CHANNELS = """
    INSERT INTO channels (channel_point, node, capacity_sat, channel_type)
    SELECT sha256(int8send(n)) || '\\x00000000', %(node)s, 1000000, 'anchors_zero_fee_htlc'
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
    RETURNING id
"""
HEADS = "INSERT INTO docket_heads (channel_id) SELECT unnest(%(ids)s::bigint[])"
#: What was watched long ago has been looked back for.
WATCHES = """
    INSERT INTO watches (channel_id, outpoint, script_pubkey, from_height, looked_back)
    SELECT id, channel_point, '\\x0020' || sha256(channel_point), 1, true
    FROM channels WHERE id = ANY(%(ids)s)
"""


def fill(db: Database, channels: int) -> list[int]:
    """So many more open channels of one node, each with its watch; their ids."""
    with db.transaction() as conn:
        [(before,)] = conn.execute("SELECT count(*) FROM channels").fetchall()
        if not before:
            examples.add_node(conn)
    ids: list[int] = []
    while len(ids) < channels:
        first = before + len(ids) + 1
        last = min(first + _BATCH, before + channels + 1) - 1
        with db.transaction() as conn:
            conn.execute("SET LOCAL statement_timeout = '10min'")
            facts = {"node": examples.NODE, "first": first, "last": last}
            made = [row[0] for row in conn.execute(CHANNELS, facts)]
            conn.execute(HEADS, {"ids": made})
            conn.execute(WATCHES, {"ids": made})
        ids += made
    with db.transaction() as conn:
        conn.execute("ANALYZE channels, docket_heads, watches, deadlines, unapplied")
    return ids
