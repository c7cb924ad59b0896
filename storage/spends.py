"""What the chain showed: which transaction spent a watched outpoint, in which block.

A reorg deletes nothing: the spends of a block that left the best chain become stale, and fresh
again when the block comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import args_row

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.units import BlockHash, BlockHeight, HexBytes, Txid
from storage.database import Connection

RECORD = """
    INSERT INTO spends AS s (channel_id, outpoint, txid, raw_tx, height, block_hash)
    SELECT * FROM unnest(%(channel_ids)s::bigint[], %(outpoints)s::bytea[], %(txids)s::bytea[],
                         %(raw_txs)s::bytea[], %(heights)s::integer[], %(block_hashes)s::bytea[])
    ON CONFLICT (outpoint, block_hash) DO UPDATE SET stale = false WHERE s.stale
"""
_COLUMNS = "channel_id, outpoint, txid, raw_tx, height, block_hash"
#: One that was given up for a better one may be the one that is mined.
CONFIRM_ABANDONED = """
    UPDATE broadcasts SET state = 'confirmed' WHERE txid = ANY(%(txids)s) AND state = 'abandoned'
"""
MARK_STALE = f"""
    WITH gone AS (
        UPDATE spends SET stale = true
        WHERE block_hash = %(block_hash)s AND NOT stale
        RETURNING id, {_COLUMNS}
    )
    SELECT {_COLUMNS} FROM gone ORDER BY id DESC
"""
FIND_CONFIRMED = f"""
    SELECT {_COLUMNS} FROM spends WHERE outpoint = ANY(%(outpoints)s) AND NOT stale
    ORDER BY outpoint
"""
BLOCKS = "SELECT DISTINCT height, block_hash FROM spends WHERE NOT stale ORDER BY height"
OF_CHANNEL = f"""
    SELECT {_COLUMNS} FROM spends WHERE channel_id = %(channel_id)s AND NOT stale
    ORDER BY height, outpoint
"""


@dataclass(frozen=True, slots=True)
class ConfirmedSpend:
    """One watched outpoint's spend in a block."""

    channel_id: int
    outpoint: OutPoint
    txid: Txid
    raw_tx: HexBytes
    height: BlockHeight
    block_hash: BlockHash


def record(
    conn: Connection,
    channel_id: int,
    outpoint: OutPoint,
    txid: Txid,
    raw_tx: bytes,
    height: BlockHeight,
    block_hash: BlockHash,
) -> None:
    """Record one spend. See `record_many`."""
    spend = ConfirmedSpend(channel_id, outpoint, txid, HexBytes(raw_tx), height, block_hash)
    record_many(conn, [spend])


def record_many(conn: Connection, spends: Sequence[ConfirmedSpend]) -> None:
    """Record spends of blocks on the best chain; recording one twice is once.

    Raises:
        psycopg.errors.UniqueViolation: an outpoint has a spend in another block that was not
            marked stale.
    """
    if spends:
        facts = {
            "channel_ids": [spend.channel_id for spend in spends],
            "outpoints": [spend.outpoint for spend in spends],
            "txids": [spend.txid for spend in spends],
            "raw_txs": [spend.raw_tx for spend in spends],
            "heights": [spend.height for spend in spends],
            "block_hashes": [spend.block_hash for spend in spends],
        }
        conn.execute(RECORD, facts)
        conn.execute(CONFIRM_ABANDONED, {"txids": facts["txids"]})


def mark_stale(conn: Connection, block_hash: BlockHash) -> list[ConfirmedSpend]:
    """The block left the best chain: the spends that went with it, the last one first.

    So what was spent in the block that made it is unspent before it is gone.
    """
    with conn.cursor(row_factory=args_row(_spend)) as cursor:
        return cursor.execute(MARK_STALE, {"block_hash": block_hash}).fetchall()


def find_confirmed(
    conn: Connection, outpoints: Sequence[OutPoint]
) -> dict[OutPoint, ConfirmedSpend]:
    """The spends of these outpoints on the best chain, by outpoint; unspent ones are left out."""
    with conn.cursor(row_factory=args_row(_spend)) as cursor:
        rows = cursor.execute(FIND_CONFIRMED, {"outpoints": list(outpoints)}).fetchall()
    return {spend.outpoint: spend for spend in rows}


def confirming_blocks(conn: Connection) -> list[tuple[BlockHeight, BlockHash]]:
    """Every block in which a spend is believed to be, the lowest first."""
    rows = conn.execute(BLOCKS)
    return [(BlockHeight(height), BlockHash(block_hash)) for height, block_hash in rows]


def list_for(conn: Connection, channel_id: int) -> list[ConfirmedSpend]:
    """A channel's spends on the best chain, by height."""
    with conn.cursor(row_factory=args_row(_spend)) as cursor:
        return cursor.execute(OF_CHANNEL, {"channel_id": channel_id}).fetchall()


def _spend(
    channel_id: int, outpoint: bytes, txid: bytes, raw_tx: bytes, height: int, block_hash: bytes
) -> ConfirmedSpend:
    return ConfirmedSpend(
        channel_id=channel_id,
        outpoint=OutPoint(outpoint),
        txid=Txid(txid),
        raw_tx=HexBytes(raw_tx),
        height=BlockHeight(height),
        block_hash=BlockHash(block_hash),
    )
