"""Channels by the million: rows as the court itself writes them, made inside Postgres.

One channel is opened through the law; the others are its rows with another channel point. Their
cases are never advanced by a bench that uses these.
"""

from __future__ import annotations

from storage.database import Database
from tests.storage import examples

_BATCH = 50_000

CHANNELS = """
    INSERT INTO channels (channel_point, node, capacity_sat, channel_type)
    SELECT sha256(int8send(n)) || '\\x00000000', t.node, t.capacity_sat, t.channel_type
    FROM channels AS t, generate_series(%(first)s::bigint, %(last)s::bigint) AS n
    WHERE t.id = %(template)s
    ORDER BY n
    RETURNING id
"""
HEADS = "INSERT INTO docket_heads (channel_id) SELECT unnest(%(ids)s::bigint[])"
ENTRIES = """
    INSERT INTO docket (channel_id, seq, idempotency_key, source, kind, payload, hash)
    SELECT id, 1, 'open', 'node', d.kind, d.payload, d.hash
    FROM docket AS d, unnest(%(ids)s::bigint[]) AS id
    WHERE d.channel_id = %(template)s AND d.seq = 1
"""
CASES = """
    INSERT INTO cases (channel_id, case_json, applied_seq)
    SELECT id, k.case_json, 1 FROM cases AS k, unnest(%(ids)s::bigint[]) AS id
    WHERE k.channel_id = %(template)s
"""
APPLIED = "DELETE FROM unapplied WHERE channel_id = ANY(%(ids)s)"
#: What was watched long ago has been looked back for.
WATCHES = """
    INSERT INTO watches (channel_id, outpoint, script_pubkey, from_height, looked_back)
    SELECT id, channel_point, '\\x0020' || sha256(channel_point), 1, true
    FROM channels WHERE id = ANY(%(ids)s)
"""


def fill(db: Database, channels: int) -> list[int]:
    """So many more open channels of one node, each with its docket, case and watch; their ids."""
    with db.transaction() as conn:
        row = conn.execute("SELECT min(id) FROM channels").fetchone()
        template = None if row is None else row[0]
        if template is None:
            examples.add_node(conn)
            template = examples.open_channel(conn)
        [(last,)] = conn.execute("SELECT max(id) FROM channels").fetchall()
    ids: list[int] = []
    while len(ids) < channels:
        size = min(_BATCH, channels - len(ids))
        numbers = {"first": last + len(ids) + 1, "last": last + len(ids) + size}
        with db.transaction() as conn:
            made = [r[0] for r in conn.execute(CHANNELS, {**numbers, "template": template})]
            facts = {"ids": made, "template": template}
            for statement in (HEADS, ENTRIES, CASES, APPLIED, WATCHES):
                conn.execute(statement, facts)
        ids += made
    with db.transaction() as conn:
        for table in ("channels", "docket", "cases", "watches", "deadlines", "unapplied"):
            conn.execute(f"ANALYZE {table}".encode())
    return ids
