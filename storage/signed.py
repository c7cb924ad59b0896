"""Storing signed transactions before they are sent; `storage.broadcasts` follows them then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.units import FeeratePerKw, HexBytes, Satoshi, Txid, WeightUnits
from storage import broadcasts
from storage.broadcasts import Broadcast
from storage.database import Connection

INSERT = """
    WITH broadcast AS (
        INSERT INTO broadcasts (channel_id, node, purpose, txid, raw_tx, fee_sat, weight,
                                feerate_per_kw, parent_txid, urgent)
        SELECT c.id, c.node, %(purpose)s, %(txid)s, %(raw_tx)s, %(fee_sat)s, %(weight)s,
               %(feerate_per_kw)s, %(parent_txid)s, %(urgent)s
        FROM channels AS c WHERE c.id = %(channel_id)s
        ON CONFLICT (txid) DO NOTHING
        RETURNING id
    )
    INSERT INTO broadcast_inputs (broadcast_id, position, outpoint, channel_id, fee_sat)
    SELECT broadcast.id, given.place - 1, given.outpoint, given.channel_id, given.fee_sat
    FROM broadcast,
         unnest(%(outpoints)b::bytea[], %(channel_ids)s::bigint[], %(fees)s::bigint[])
             WITH ORDINALITY AS given (outpoint, channel_id, fee_sat, place)
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
    for one in signed:
        conn.execute(INSERT, _facts(one))
    stored = broadcasts.find_many(conn, txids)
    return [stored[txid] for txid in txids]


def _facts(signed: Signed) -> dict[str, object]:
    return {
        "channel_id": signed.channel_id,
        "purpose": signed.purpose,
        "txid": signed.txid,
        "raw_tx": signed.raw_tx,
        "outpoints": [spent.outpoint for spent in signed.inputs],
        "channel_ids": [spent.channel_id for spent in signed.inputs],
        "fees": [spent.fee_sat for spent in signed.inputs],
        "fee_sat": signed.price.fee_sat,
        "weight": signed.price.weight,
        "feerate_per_kw": signed.price.feerate_per_kw,
        "parent_txid": signed.parent_txid,
        "urgent": signed.urgent,
    }
