"""Transactions that made what is spent: they prove to the signer what its inputs are worth."""

from __future__ import annotations

from collections.abc import Sequence

from contractcourt.bitcoin.block import without_witness
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.units import HexBytes, Txid
from storage.database import Connection

#: What made an output of a channel has spent one, which was watched; stale or not, it made it.
FIND = """
    (SELECT DISTINCT ON (s.txid) s.txid, s.raw_tx
     FROM channels AS h
     JOIN watches AS w ON w.channel_id = h.id
     JOIN spends AS s ON s.outpoint = w.outpoint
     WHERE h.channel_point = ANY(%(channel_points)s) AND s.txid = ANY(%(txids)s)
     ORDER BY s.txid)
    UNION ALL
    SELECT txid, raw_tx FROM fee_wallet_parents WHERE txid = ANY(%(txids)s)
"""


def find(
    conn: Connection, channel_points: Sequence[OutPoint], txids: Sequence[Txid]
) -> dict[Txid, HexBytes]:
    """Those of these that made outputs of these channels or coins of a fee wallet.

    Without witness; what is not known is left out.
    """
    facts = {"channel_points": list(channel_points), "txids": list(txids)}
    return {Txid(txid): without_witness(raw) for txid, raw in conn.execute(FIND, facts)}
