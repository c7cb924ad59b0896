"""A court's data goes through every migration, in each table from the version that made it."""

from __future__ import annotations

import psycopg

from storage.migrate import apply
from tests.storage.test_migrate import schema_of
from tests.storage.test_upgrade import connected, revisions

#: By the version that made the tables: an open channel, a closed one, and one that is resolved.
DATA = {
    "0001": r"""
        INSERT INTO nodes (name, sweep_scripts) VALUES ('alice', '{"\\x00"}');
        INSERT INTO node_secrets (node, secret) VALUES ('alice', 'whsec_x');
        INSERT INTO channels (channel_point, node, capacity_sat)
            SELECT decode(lpad(to_hex(n), 72, '0'), 'hex'), 'alice', 9 FROM generate_series(1, 3) n;
        INSERT INTO docket_heads (channel_id) SELECT id FROM channels;
        INSERT INTO docket (channel_id, seq, idempotency_key, source, kind, payload, hash)
            SELECT id, seq, 'key ' || seq, 'node', 'channel_opened', '{}', sha256('')
            FROM channels, generate_series(1, 2) seq;
        INSERT INTO cases (channel_id, case_json, applied_seq)
            SELECT id, '{"channel":{"channel_type":"static_remotekey"}}', 1 FROM channels;
        DELETE FROM unapplied WHERE seq = 1;
        INSERT INTO channel_resolutions
            (channel_id, close_kind, closing_txid, closed_height, resolutions,
             fully_resolved_height)
            VALUES (2, 'local', sha256(''), 5, '[]', NULL), (3, 'remote', sha256(''), 5, '[]', 7);
        UPDATE channels SET state = 'CONTRACT_CLOSED' WHERE id = 2;
        UPDATE channels SET state = 'FULLY_RESOLVED' WHERE id = 3;
        INSERT INTO contracts
            (channel_id, outpoint, kind, value_sat, stage, confirmed_height, maturity_height)
            SELECT id, channel_point, 'to_local', 9,
                   CASE id WHEN 2 THEN 'sweeping' ELSE 'resolved' END, 5, 6
            FROM channels WHERE id > 1;
    """,
    "0002": """
        INSERT INTO leases VALUES ('chain_watcher', gen_random_uuid(), 3, clock_timestamp());
        INSERT INTO blocks (hash, height) VALUES (sha256('block'), 7);
        INSERT INTO chain_cursor (height, hash) VALUES (7, sha256('block'));
        INSERT INTO spends (channel_id, outpoint, txid, raw_tx, height, block_hash)
            SELECT id, channel_point, sha256(''), 'tx', 5, sha256('block')
            FROM channels WHERE id > 1;
        INSERT INTO watches (channel_id, outpoint, script_pubkey)
            SELECT id, channel_point, '' FROM channels;
        INSERT INTO deadlines (channel_id, height, reason, value_at_risk_sat)
            SELECT id, 9, reason, 5
            FROM channels, unnest('{an HTLC is due,the close becomes final}'::text[]) AS reason;
    """,
    "0003": """
        INSERT INTO outbox (channel_id, kind, effect, sent_at)
            SELECT 1, kind, '{}', sent_at
            FROM unnest('{publish_commitment,notify_node,ask_local_point}'::text[]) AS kind,
                 (VALUES (NULL), (clock_timestamp())) AS sent (sent_at);
        INSERT INTO broadcasts (channel_id, purpose, txid, raw_tx, state) VALUES
            (1, 'commitment', sha256('1'), 'tx', 'open'),
            (2, 'sweep', sha256('2'), 'tx', 'confirmed');
        INSERT INTO broadcast_inputs (broadcast_id, position, outpoint)
            SELECT b.id, 0, c.channel_point
            FROM broadcasts AS b JOIN channels AS c ON c.id = b.channel_id;
        INSERT INTO force_closes (channel_id, idempotency_key, requested_by, reason)
            VALUES (1, 'key', 'operator', '');
        INSERT INTO alarms (channel_id, kind, message, cleared_at)
            VALUES (1, 'breach', '', NULL), (2, 'breach', '', clock_timestamp());
        INSERT INTO sealed_secrets (name, sealed) VALUES ('keys', 'sealed');
        INSERT INTO signed_commitments (funding_outpoint, txid)
            SELECT channel_point, sha256('') FROM channels;
    """,
    "0004": """
        INSERT INTO webhook_receipts (node, message_id, digest) VALUES ('alice', '1', sha256(''));
        INSERT INTO channel_htlcs (payment_hash, channel_id) SELECT sha256(''), id FROM channels;
    """,
    "0006": """
        INSERT INTO revoked_states (channel_id, number, htlcs)
            SELECT id, 1, decode(repeat('00', 53), 'hex') FROM channels;
    """,
    "0007": """
        INSERT INTO sweep_inputs (outpoint, channel_id, node, want, state, started_height)
            SELECT channel_point, id, 'alice',
                   '{"effect":{"deadline":9,"contract":{"value_sat":5}}}',
                   CASE id WHEN 2 THEN 'wanted' ELSE 'quarantined' END, 5
            FROM channels WHERE id > 1;
        INSERT INTO sweep_rounds (node, asked) VALUES ('alice', 1);
        INSERT INTO fee_wallet_scripts (node, index, script_pubkey) VALUES ('alice', 0, 'script');
        INSERT INTO fee_wallet_coins (outpoint, node, index, value_sat, height)
            SELECT channel_point, 'alice', 0, 9, 5 FROM channels;
    """,
    "0009": """
        INSERT INTO fencings (lease, epoch, holder) SELECT name, epoch, holder FROM leases;
    """,
    "0010": """
        INSERT INTO docket_checkpoints (channel_id, seq, hash, case_json)
            VALUES (3, 1, sha256(''), '{}');
    """,
    "0012": """
        INSERT INTO webhook_endpoints (name) VALUES ('alice');
        INSERT INTO dead_letters
            (id, endpoint, channel_id, kind, effect, attempts, last_error, created_at)
            VALUES (999, 'alice', 1, 'notify_node', '{}', 1, '', clock_timestamp());
    """,
    "0025": """
        INSERT INTO told_preimages (node, payment_hash, preimage)
            VALUES ('alice', sha256(''), sha256(''));
    """,
    "0026": """
        INSERT INTO fee_wallet_parents (txid, raw_tx) VALUES (sha256(''), 'tx');
    """,
}
#: What a migration takes off: these are over with their channels (0027).
_TAKEN_OFF = {"deadlines": 2}
#: Filled by triggers and by migrations, or archived later.
_NOT_COUNTED = {"alembic_version", "tallies", "docket_archive", "outbox"}
TABLES = """
    SELECT relname FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
"""


def without_parts(url: str) -> list[str]:
    """The schema; a docket of before there were months is a part with the names it had then."""
    return [line for line in schema_of(url) if "docket_20" not in line]


def counts(conn: psycopg.Connection) -> dict[str, int]:
    tables = [row[0] for row in conn.execute(TABLES)]
    return {
        table: conn.execute(f"SELECT count(*) FROM {table}".encode()).fetchall()[0][0]
        for table in tables
        if table not in _NOT_COUNTED
    }


def test_p7_the_data_of_every_version_goes_through_all_later_migrations(
    empty_database_url: str, database_url: str
) -> None:
    put_in: dict[str, int] = {}
    for revision in revisions():
        with connected(empty_database_url) as connection:
            apply(connection, revision)
        with psycopg.connect(empty_database_url) as conn:
            before = counts(conn)
            conn.execute(DATA.get(revision, "SELECT 1").encode())
            put_in |= {table: n for table, n in counts(conn).items() if n != before.get(table)}
    with psycopg.connect(empty_database_url) as conn:
        kept = counts(conn)
        letters = conn.execute("SELECT endpoint FROM outbox WHERE kind = 'notify_node'").fetchall()
    assert {**put_in, "deadlines": put_in["deadlines"] - _TAKEN_OFF["deadlines"]} == kept
    assert all(kept.values()), kept
    assert ("alice",) in letters
    assert without_parts(empty_database_url) == without_parts(database_url)
