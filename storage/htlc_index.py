"""Which channels hold an HTLC of a payment hash: where a learned preimage belongs.

A node tells a preimage without saying of which channel, and a case is one record in which
nothing can be looked up; so the hashes of each case's present commitments stand here as well.
"""

from __future__ import annotations

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.case import Case
from contractcourt.units import PaymentHash
from storage.database import Connection

#: The name of the lock at which an HTLC and its preimage meet. There are few of them, for one
#: transaction may tell of thousands of HTLCs.
MEETING = "1752460387, get_byte({payment_hash}, 0) / 4"
_SHARED = f"pg_advisory_xact_lock_shared({MEETING.format(payment_hash='payment_hash')})"

REPLACE = f"""
    WITH given AS (
        SELECT DISTINCT unnest(%(hashes)s::bytea[]) AS payment_hash
    ), gone AS (
        DELETE FROM channel_htlcs AS h
        WHERE h.channel_id = %(channel_id)s
          AND NOT EXISTS (SELECT 1 FROM given WHERE given.payment_hash = h.payment_hash)
    )
    INSERT INTO channel_htlcs (channel_id, payment_hash)
    SELECT %(channel_id)s, payment_hash FROM given ORDER BY payment_hash
    ON CONFLICT (payment_hash, channel_id) DO NOTHING
    RETURNING payment_hash, {_SHARED}
"""
FIND = """
    SELECT h.channel_id, c.channel_point
    FROM channel_htlcs AS h
    JOIN channels AS c ON c.id = h.channel_id
    WHERE h.payment_hash = %(payment_hash)s AND c.node = %(node)s
      AND (NOT c.fully_resolved OR EXISTS (
        SELECT 1 FROM contracts AS k
        WHERE k.channel_id = c.id AND k.kind = 'received_htlc' AND k.spend_txid IS NULL))
    ORDER BY h.channel_id
"""


def replace(conn: Connection, channel_id: int, case: Case) -> list[PaymentHash]:
    """Keep the payment hashes of a case's commitments, and no others of its channel; the new ones.

    Nobody tells a preimage of the new ones until the commit, so whoever asks now for what was
    told (`told_preimages.recall`) misses none.
    """
    facts = {"channel_id": channel_id, "hashes": sorted(case.payment_hashes)}
    return [PaymentHash(row[0]) for row in conn.execute(REPLACE, facts)]


def channels_with(conn: Connection, node: str, payment_hash: PaymentHash) -> dict[int, OutPoint]:
    """The node's channels that hold such an HTLC and may still claim it: their names by id.

    A channel is fully resolved although a received HTLC was given up at its expiry. As long as the
    peer has not taken it back, its preimage still wins it.
    """
    facts = {"node": node, "payment_hash": payment_hash}
    return {channel_id: OutPoint(point) for channel_id, point in conn.execute(FIND, facts)}
