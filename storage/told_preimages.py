"""Preimages that nodes or the chain told, kept for HTLCs that are told after them.

A channel that holds the HTLC already has the preimage on its docket; here it waits for one whose
`channel.updated` was overtaken. Neither may miss the other when both come at once, so they meet at
a lock of their payment hash: whoever told the HTLC has it shared until the commit
(`htlc_index.replace`), and whoever tells the preimage has it alone. What the chain shows is kept
without that lock: it would be held over the commit of many channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from contractcourt.units import PaymentHash, Secret
from storage.database import Connection
from storage.htlc_index import MEETING

#: The lock is held before the row is written, and the row is committed before its HTLCs are sought.
MEET = f"SELECT pg_advisory_xact_lock({MEETING.format(payment_hash='%(payment_hash)s::bytea')})"
KEEP = """
    INSERT INTO told_preimages (node, payment_hash, preimage)
    SELECT * FROM unnest(%(nodes)s::text[], %(hashes)s::bytea[], %(preimages)s::bytea[])
        AS known (node, payment_hash, preimage)
    ORDER BY node, payment_hash
    ON CONFLICT (node, payment_hash) DO NOTHING
"""
RECALL = """
    SELECT t.node, t.payment_hash, t.preimage
    FROM unnest(%(nodes)s::text[], %(hashes)s::bytea[]) AS asked (node, payment_hash)
    JOIN told_preimages AS t ON t.node = asked.node AND t.payment_hash = asked.payment_hash
"""


def remember(conn: Connection, node: str, payment_hash: PaymentHash, preimage: Secret) -> None:
    """Keep what a node told. Commit it before asking who holds such an HTLC.

    Waits for transactions that are just telling of such HTLCs, so hold no other lock.
    """
    conn.execute(MEET, {"payment_hash": payment_hash})
    keep(conn, [(node, payment_hash, preimage)])


def keep(conn: Connection, known: Sequence[tuple[str, PaymentHash, Secret]]) -> None:
    """Keep what the chain showed, as (node, payment hash, preimage), and meet nobody."""
    if known:
        facts = {
            "nodes": [node for node, _, _ in known],
            "hashes": [payment_hash for _, payment_hash, _ in known],
            "preimages": [preimage for _, _, preimage in known],
        }
        conn.execute(KEEP, facts)


def recall(
    conn: Connection, asked: Iterable[tuple[str, PaymentHash]]
) -> dict[tuple[str, PaymentHash], Secret]:
    """Of these (node, payment hash) those whose preimage was told before."""
    wanted = sorted(set(asked))
    if not wanted:
        return {}
    facts = {"nodes": [node for node, _ in wanted], "hashes": [told for _, told in wanted]}
    return {
        (node, PaymentHash(payment_hash)): Secret(preimage)
        for node, payment_hash, preimage in conn.execute(RECALL, facts)
    }
