"""Storing signed transactions before they are sent; `storage.broadcasts` follows them then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.units import FeeratePerKw, HexBytes, Satoshi, Txid, WeightUnits
from storage import broadcasts
from storage.broadcasts import Broadcast
from storage.database import Connection

#: One that is known already gets no inputs anew.
INSERT = """
    WITH stored AS (
        INSERT INTO broadcasts (channel_id, node, purpose, txid, raw_tx, fee_sat, weight,
                                feerate_per_kw, parent_txid, urgent)
        SELECT c.id, c.node, g.purpose, g.txid, g.raw_tx, g.fee_sat, g.weight, g.feerate_per_kw,
               g.parent_txid, g.urgent
        FROM unnest(%(channel_ids)s::bigint[], %(purposes)s::text[], %(txids)s::bytea[],
                    %(raw_txs)s::bytea[], %(fees)s::bigint[], %(weights)s::integer[],
                    %(feerates)s::bigint[], %(parents)s::bytea[], %(urgent)s::boolean[])
            WITH ORDINALITY AS g (channel_id, purpose, txid, raw_tx, fee_sat, weight,
                                  feerate_per_kw, parent_txid, urgent, place)
        JOIN channels AS c ON c.id = g.channel_id
        ORDER BY g.place
        ON CONFLICT (txid) DO NOTHING
        RETURNING id, txid
    )
    INSERT INTO broadcast_inputs (broadcast_id, position, outpoint, channel_id, fee_sat)
    SELECT stored.id, i.position, i.outpoint, i.channel_id, i.fee_sat
    FROM unnest(%(spenders)s::bytea[], %(positions)s::integer[], %(outpoints)s::bytea[],
                %(input_channel_ids)s::bigint[], %(input_fees)s::bigint[])
        AS i (txid, position, outpoint, channel_id, fee_sat)
    JOIN stored USING (txid)
"""
#: Given up, and wanted again: at the same rate a sweep is the same transaction.
TAKE_UP = """
    UPDATE broadcasts SET state = 'open' WHERE txid = ANY(%(txids)s) AND state = 'abandoned'
"""


@dataclass(frozen=True, slots=True)
class SpentInput:
    """An input of a broadcast: whose it is, and what it pays of the fee; a coin pays nothing."""

    outpoint: OutPoint
    channel_id: int | None
    fee_sat: Satoshi


@dataclass(frozen=True, slots=True)
class Price:
    """What a broadcast pays. `feerate_per_kw` is a package's where there is a parent."""

    fee_sat: Satoshi
    weight: WeightUnits
    feerate_per_kw: FeeratePerKw


@dataclass(frozen=True, slots=True)
class Signed:
    """A transaction to store. `urgent`: the rounds of what has a deadline tend it."""

    channel_id: int
    purpose: str
    txid: Txid
    raw_tx: HexBytes
    inputs: Sequence[SpentInput]
    price: Price
    parent_txid: Txid | None = None
    urgent: bool = False


def store(conn: Connection, signed: Signed) -> Broadcast:
    """Store one. See `store_many`."""
    return store_many(conn, [signed])[0]


def store_many(conn: Connection, signed: Sequence[Signed]) -> list[Broadcast]:
    """Store them, in their order; the stored one where its txid is known.

    One that was abandoned is open again.
    """
    if not signed:
        return []
    txids = [one.txid for one in signed]
    conn.execute(TAKE_UP, {"txids": txids})
    each_once = list({one.txid: one for one in signed}.values())
    conn.execute(INSERT, {**_facts(each_once), **_input_facts(each_once)})
    stored = broadcasts.find_many(conn, txids)
    return [stored[txid] for txid in txids]


def _facts(signed: Sequence[Signed]) -> dict[str, object]:
    return {
        "channel_ids": [one.channel_id for one in signed],
        "purposes": [one.purpose for one in signed],
        "txids": [one.txid for one in signed],
        "raw_txs": [one.raw_tx for one in signed],
        "fees": [one.price.fee_sat for one in signed],
        "weights": [one.price.weight for one in signed],
        "feerates": [one.price.feerate_per_kw for one in signed],
        "parents": [one.parent_txid for one in signed],
        "urgent": [one.urgent for one in signed],
    }


def _input_facts(signed: Sequence[Signed]) -> dict[str, object]:
    spent = [
        (one.txid, position, given) for one in signed for position, given in enumerate(one.inputs)
    ]
    return {
        "spenders": [txid for txid, _, _ in spent],
        "positions": [position for _, position, _ in spent],
        "outpoints": [given.outpoint for _, _, given in spent],
        "input_channel_ids": [given.channel_id for _, _, given in spent],
        "input_fees": [given.fee_sat for _, _, given in spent],
    }
