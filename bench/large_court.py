"""A court of many channels as its readers see it: a few judged by the law, the rest made by SQL.

Of a hundred channels 78 are open, a third of which hold an HTLC; 20 are fully resolved and two are
somewhere between. With them come what their closes left behind: contracts, spends, sweeps,
broadcasts, letters, alarms, dead letters. Nothing that is made by SQL is ever advanced; its cases
and dockets are copies of the few that the law judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import psycopg

from bench import traffic
from contractcourt.codec import encode
from contractcourt.effects import SweepOutput
from contractcourt.events import ChannelUpdated, SpendConfirmed
from contractcourt.policy import Policy
from contractcourt.units import BlockHash, BlockHeight, HexBytes, Script
from storage import blocks, cases, docket, fee_wallets, nodes
from storage.database import Connection, Database
from storage.sweep_inputs import Wish
from tasks import arbitration
from tests.storage import examples
from workers.simulation.channel import SimulatedChannel

#: Where the chain stands; the HTLCs of `traffic` are due a little later.
TIP = BlockHeight(799_900)
#: Half of all channels are the first one's. The last two have one in a thousand each: `YOUNG`
#: has closed none yet, and `SILENT` does not take its letters.
NODES = tuple(f"node{number}" for number in range(20))
YOUNG, SILENT = "young", "silent"
_BATCH = 50_000
_JUDGED = 4
_FINAL_DEPTH = 10

#: `lot` spreads what differs evenly over all channels, whatever their number.
MADE = """
    CREATE TEMP TABLE made ON COMMIT DROP AS
    SELECT *,
           state IN ('CONTRACT_CLOSED', 'WAITING_FULL_RESOLUTION', 'FULLY_RESOLVED') AS closed,
           CASE WHEN state = 'FULLY_RESOLVED' THEN %(tip)s - 100 - n * 13 %% 100000
                ELSE %(tip)s - n %% 100 END::integer AS closed_height
    FROM (
        SELECT n, %(base)s + n AS id, sha256(int8send(n)) AS hash,
               sha256(int8send(n)) || '\\x00000000'::bytea AS point, n * 7919 %% 10000 AS lot,
               CASE WHEN n %% 1000 = 501 THEN %(young)s WHEN n %% 1000 = 502 THEN %(silent)s
                    WHEN n %% 2 = 0 THEN 'node0' ELSE 'node' || 1 + n / 2 %% 19 END AS node,
               CASE WHEN n %% 1000 = 501 OR n * 7919 %% 10000 >= 2200 THEN 'DEFAULT'
                    WHEN n * 7919 %% 10000 < 2000 THEN 'FULLY_RESOLVED'
                    WHEN n * 7919 %% 10000 < 2100 THEN 'WAITING_FULL_RESOLUTION'
                    WHEN n * 7919 %% 10000 < 2180 THEN 'CONTRACT_CLOSED'
                    WHEN n * 7919 %% 10000 < 2190 THEN 'COMMITMENT_BROADCASTED'
                    ELSE 'BROADCAST_COMMIT' END AS state
        FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
    ) AS one
"""
ROWS = (
    """
    INSERT INTO channels (id, channel_point, node, capacity_sat, channel_type, state)
    OVERRIDING SYSTEM VALUE
    SELECT id, point, node, 1000000, 'anchors_zero_fee_htlc', state FROM made
    """,
    """
    INSERT INTO docket (channel_id, seq, idempotency_key, source, kind, payload, hash)
    SELECT id, seq, 'height:' || seq, 'chain', 'height_reached', %(event)s, hash
    FROM made, generate_series(1, 3) AS seq
    """,
    "INSERT INTO docket_heads (channel_id, last_seq, last_hash) SELECT id, 3, hash FROM made",
    """
    INSERT INTO cases (channel_id, case_json, applied_seq, version, obscuring_factor)
    SELECT id, CASE WHEN closed THEN %(closed_case)s ELSE %(open_case)s END, 3, 3, n FROM made
    """,
    """
    INSERT INTO watches (channel_id, outpoint, script_pubkey, from_height, looked_back, removed_at)
    SELECT id, point, '\\x0020'::bytea || hash, 1, true,
           CASE WHEN state = 'FULLY_RESOLVED' THEN clock_timestamp() END
    FROM made
    """,
    # The HTLC of every third channel, and what closed ones wait for.
    """
    INSERT INTO deadlines (channel_id, height, hard_height, reason, value_at_risk_sat, urgent)
    SELECT id, %(tip)s + 10 + n %% 140, %(tip)s + 10 + n %% 140, 'an HTLC is due', 50000, true
    FROM made WHERE lot %% 3 = 0 AND NOT closed
    UNION ALL
    SELECT id, %(tip)s + 4 + n %% 140, %(tip)s + 4 + n %% 140,
           'the offered_htlc comes near its height', 50000, false
    FROM made WHERE lot %% 3 = 0 AND NOT closed
    UNION ALL
    SELECT id, %(tip)s + 1 + n %% 144, %(tip)s + 1 + n %% 144, 'to_local matures', 400000, false
    FROM made WHERE state = 'CONTRACT_CLOSED'
    UNION ALL
    SELECT id, %(tip)s + 1 + n %% 100, %(tip)s + 1 + n %% 100, 'to_local resolves', 0, false
    FROM made WHERE state = 'WAITING_FULL_RESOLUTION'
    UNION ALL
    SELECT id, %(tip)s + 1 + n %% 100, %(tip)s + 1 + n %% 100, 'a received HTLC expires', 30000,
           false
    FROM made WHERE state = 'CONTRACT_CLOSED' AND lot %% 10 = 0
    """,
    """
    INSERT INTO channel_htlcs (payment_hash, channel_id)
    SELECT hash, id FROM made WHERE lot %% 3 = 0 AND NOT closed
    """,
    # What punishes is deleted thirty days after the end.
    """
    INSERT INTO revoked_states (channel_id, number, htlcs)
    SELECT id, number, decode(repeat('00', 53), 'hex') FROM made, generate_series(1, 2) AS number
    WHERE lot %% 3 = 0 AND NOT (state = 'FULLY_RESOLVED' AND closed_height < %(tip)s - 4500)
    """,
    """
    INSERT INTO channel_resolutions (channel_id, close_kind, closing_txid, closed_height,
                                     resolutions, fully_resolved_height)
    SELECT id, CASE WHEN n %% 1000 = 7 THEN 'breach'
                    ELSE (ARRAY['cooperative', 'local', 'remote', 'remote_pending'])[1 + n %% 4]
               END, hash, closed_height, %(resolutions)s::jsonb,
           CASE WHEN state = 'FULLY_RESOLVED' THEN closed_height + 20 END
    FROM made WHERE closed
    """,
    """
    INSERT INTO contracts (channel_id, outpoint, kind, value_sat, stage, confirmed_height,
                           spend_txid, spend_height, ours)
    SELECT id, hash || int4send(vout), CASE vout WHEN 0 THEN 'to_local' ELSE 'anchor' END, 400000,
           CASE WHEN state = 'FULLY_RESOLVED' THEN 'resolved'
                WHEN vout = 0 THEN 'immature' ELSE 'sweeping' END,
           closed_height,
           CASE WHEN state = 'FULLY_RESOLVED' THEN hash END,
           CASE WHEN state = 'FULLY_RESOLVED' THEN closed_height + 10 END, true
    FROM made, generate_series(0, 1) AS vout WHERE closed
    """,
    """
    INSERT INTO spends (channel_id, outpoint, txid, raw_tx, height, block_hash)
    SELECT id, point, hash, decode(repeat('00', 300), 'hex'), closed_height, %(block)s
    FROM made WHERE closed
    UNION ALL
    SELECT id, hash || int4send(1), hash, decode(repeat('00', 200), 'hex'), closed_height + 10,
           %(block)s
    FROM made WHERE state = 'FULLY_RESOLVED'
    """,
    # One output of each close: swept, or to be swept, for some by a height.
    """
    INSERT INTO sweep_inputs (outpoint, channel_id, node, want, state, started_height, urgent,
                              deadline, value_sat, feerate_per_kw)
    SELECT hash || int4send(1), id, node, %(want)s,
           CASE WHEN lot %% 1000 = 1 THEN 'quarantined' WHEN state <> 'FULLY_RESOLVED' THEN 'wanted'
                WHEN lot %% 50 = 2 THEN 'given_up' ELSE 'dropped' END,
           closed_height, lot %% 3 = 0,
           CASE WHEN lot %% 3 = 0 THEN closed_height + 150 END, 400000, 500
    FROM made WHERE closed
    """,
    """
    WITH sent AS (
        INSERT INTO broadcasts (channel_id, purpose, txid, raw_tx, state, node, fee_sat, weight,
                                feerate_per_kw, last_outcome, last_attempt_at, attempts, urgent)
        SELECT id, 'sweep', hash, decode(repeat('00', 250), 'hex'),
               CASE state WHEN 'FULLY_RESOLVED' THEN 'confirmed' ELSE 'open' END, node, 200, 400,
               500, 'accepted', clock_timestamp(), 1, lot %% 3 = 0
        FROM made WHERE closed AND (state = 'FULLY_RESOLVED' OR n %% 2 = 0)
        RETURNING id, channel_id, txid
    )
    INSERT INTO broadcast_inputs (broadcast_id, position, outpoint, channel_id, fee_sat)
    SELECT id, 0, txid || int4send(1), channel_id, 200 FROM sent
    """,
    """
    INSERT INTO alarms (channel_id, kind, message, raised_at, cleared_at)
    SELECT id, 'not_signed', 'the signer had no key of channel ' || id,
           clock_timestamp() - make_interval(days => (n %% 300)::integer),
           CASE WHEN lot %% 100 = 7 THEN clock_timestamp() END
    FROM made WHERE lot %% 100 = 7 OR lot BETWEEN 2050 AND 2059
    """,
    # Letters of thirty days; those to one node wait, and an effect of some channels.
    """
    INSERT INTO outbox (channel_id, kind, effect, endpoint, sent_at)
    SELECT id, 'notify_node', %(letter)s, node,
           CASE WHEN node <> %(silent)s
                THEN clock_timestamp() - make_interval(hours => (n %% 720)::integer) END
    FROM made, generate_series(1, 4) AS each
    WHERE closed OR node = %(silent)s
    UNION ALL
    SELECT id, 'ask_local_point', '{"type":"ask_local_point","number":1}', NULL, NULL
    FROM made WHERE lot = 2195
    """,
    """
    INSERT INTO dead_letters (id, endpoint, channel_id, kind, effect, attempts, last_error,
                              created_at, replayed_at)
    SELECT 1000000000 + id, node, id, 'notify_node', %(letter)s, 20, 'answered 500',
           clock_timestamp(), CASE WHEN lot %% 100 = 8 THEN clock_timestamp() END
    FROM made WHERE lot %% 100 = 8 OR lot BETWEEN 2060 AND 2062
    """,
    """
    INSERT INTO force_closes (channel_id, idempotency_key, requested_by, reason, concluded_at)
    SELECT id, 'court', 'court', 'an HTLC is due', CASE WHEN closed THEN clock_timestamp() END
    FROM made WHERE state <> 'DEFAULT' AND (lot %% 10 = 1 OR NOT closed)
    """,
    "INSERT INTO unapplied (channel_id, seq) SELECT id, 4 FROM made WHERE lot = 2196",
)
#: As the triggers would have counted, folded.
TALLIES = (
    "DELETE FROM tallies",
    "INSERT INTO tallies SELECT 'channels', state, count(*) FROM channels GROUP BY state",
    """
    INSERT INTO tallies
    SELECT named.name, named.label, (SELECT sum(last_seq) FROM docket_heads)
    FROM (VALUES ('docket_entries', 'height_reached'), ('applied_within', '0.1')) AS named
        (name, label)
    """,
    "INSERT INTO tallies SELECT 'alarms_raised', kind, count(*) FROM alarms GROUP BY kind",
    """
    INSERT INTO tallies
    SELECT CASE state WHEN 'open' THEN 'broadcasts_open' ELSE 'broadcasts_settled' END,
           CASE state WHEN 'open' THEN coalesce(last_outcome, 'none') ELSE state END, count(*)
    FROM broadcasts GROUP BY 1, 2
    """,
)
_LETTER = (
    '{"type":"notify_node","event_type":"channel.closed","data":{"kind":"local","channel_point":'
    '"1111111111111111111111111111111111111111111111111111111111111111:0","height":700000}}'
)


@dataclass(frozen=True, slots=True)
class Judged:
    """What the law judged before all else: names of channels, and texts that the others copy."""

    open_point: str
    closed_point: str
    base: int
    open_case: str
    closed_case: str
    resolutions: str


def begin(db: Database) -> Judged:
    """Nodes, the chain, and the channels that the law judges."""
    sims = traffic.channels(2 * _JUDGED)
    _, ids = traffic.open_all(db, sims)
    for sim, channel_id in zip(sims, ids, strict=True):
        _move(db, sim, channel_id)
    for sim, channel_id in zip(sims[_JUDGED:], ids[_JUDGED:], strict=True):
        _close(db, sim, channel_id)
    with db.transaction() as conn:
        _add_nodes(conn)
        blocks.init_cursor(conn, TIP, _block(TIP))
        texts: dict[int, str] = dict(
            conn.execute("SELECT channel_id, case_json FROM cases").fetchall()
        )
        [(resolutions,)] = conn.execute(
            "SELECT resolutions::text FROM channel_resolutions LIMIT 1"
        ).fetchall()
    return Judged(
        open_point=str(sims[0].funding_outpoint),
        closed_point=str(sims[-1].funding_outpoint),
        base=max(ids),
        open_case=texts[ids[0]],
        closed_case=texts[ids[-1]],
        resolutions=resolutions,
    )


def fill(db: Database, judged: Judged, before: int, after: int) -> None:
    """Make the channels with the numbers above `before`, up to `after`."""
    want = SweepOutput(examples.contract(1), examples.SWEEP_SCRIPT)
    facts = {
        "base": judged.base,
        "tip": TIP,
        "block": _block(TIP),
        "young": YOUNG,
        "silent": SILENT,
        "open_case": judged.open_case,
        "closed_case": judged.closed_case,
        "resolutions": judged.resolutions,
        "event": '{"type":"height_reached","height":700000}',
        "want": encode(Wish(examples.channel(1), want, Policy())).decode(),
        "letter": _LETTER,
    }
    for first in range(before + 1, after + 1, _BATCH):
        last = min(first + _BATCH - 1, after)
        with db.transaction() as conn:
            conn.execute("SET LOCAL statement_timeout = '10min'")
            # What triggers and foreign keys would say holds by construction.
            conn.execute("SET LOCAL session_replication_role = replica")
            for statement in (MADE, *ROWS):
                _execute(conn, statement, {**facts, "first": first, "last": last})
    with db.transaction() as conn:
        conn.execute("SET LOCAL statement_timeout = '10min'")
        for statement in TALLIES:
            conn.execute(statement)
    with psycopg.connect(db.url, autocommit=True) as bare:
        # As autovacuum leaves it.
        bare.execute("VACUUM ANALYZE")


def last_id(judged: Judged, size: int) -> int:
    """The id of the channel that was opened last."""
    return judged.base + size


def _execute(conn: Connection, statement: str, facts: dict[str, object]) -> None:
    conn.execute(statement, facts)


def _move(db: Database, sim: SimulatedChannel, channel_id: int) -> None:
    """Two moves with an HTLC each."""
    for number, steps in enumerate(islice(traffic.moves(sim, 1), 2)):
        with db.transaction() as conn:
            arbitration.apply_at_the_door(
                conn,
                channel_id,
                ChannelUpdated(steps),
                idempotency_key=f"move {number}",
                source="node",
            )


def _close(db: Database, sim: SimulatedChannel, channel_id: int) -> None:
    """By our commitment, which is buried already."""
    tx = sim.our_commitment_tx()
    at = BlockHeight(TIP - _FINAL_DEPTH)
    event = SpendConfirmed(
        sim.channel.funding_outpoint, tx.txid(), HexBytes(tx.serialize()), at, _block(at), TIP
    )
    with db.transaction() as conn:
        docket.append(conn, channel_id, event, idempotency_key="closed", source="chain")
    arbitration.arbitrate(db, [channel_id])
    with db.transaction() as conn:
        stored = cases.read(conn, channel_id)
    assert stored is not None
    assert stored.case.closed


def _add_nodes(conn: Connection) -> None:
    for number, name in enumerate((*NODES, YOUNG, SILENT)):
        nodes.add_node(conn, name, [examples.SWEEP_SCRIPT])
        script = Script(b"\x00\x14" + name.encode().ljust(20, b"\0"))
        fee_wallets.put_scripts(conn, name, [script])
        conn.execute(
            "INSERT INTO fee_wallet_coins (outpoint, node, index, value_sat, height)"
            " SELECT sha256(int8send(c)) || int4send(%s), %s, 0, 20000, 1"
            " FROM generate_series(1, 20) AS c",
            (number, name),
        )


def _block(height: int) -> BlockHash:
    return BlockHash(height.to_bytes(32, "little"))
