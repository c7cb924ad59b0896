"""The coins of the fee wallets, as the watcher sees them on the best chain.

A coin is there when its block is, and spent when the spender's block is: what a reorg takes, it
takes back here too, in the same commit as the cursor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import args_row

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.units import BlockHash, BlockHeight, Satoshi, Script
from storage import turns
from storage.database import Connection

#: A coin that was seen before its block was known keeps its row.
ADD = """
    INSERT INTO fee_wallet_coins (outpoint, node, index, value_sat, height, block_hash)
    SELECT given.outpoint, s.node, s.index, given.value_sat, given.height, given.block_hash
    FROM unnest(%(outpoints)s::bytea[], %(scripts)s::bytea[], %(values)s::bigint[],
                %(heights)s::integer[], %(block_hashes)s::bytea[])
         AS given (outpoint, script_pubkey, value_sat, height, block_hash)
    JOIN fee_wallet_scripts AS s ON s.script_pubkey = given.script_pubkey
    ON CONFLICT (outpoint) DO UPDATE
    SET height = EXCLUDED.height, block_hash = EXCLUDED.block_hash
"""
SPEND = """
    UPDATE fee_wallet_coins SET spent_height = %(height)s, spent_block_hash = %(block_hash)s
    WHERE outpoint = ANY(%(outpoints)s)
"""
UNSPEND = """
    UPDATE fee_wallet_coins SET spent_height = NULL, spent_block_hash = NULL
    WHERE spent_block_hash = %(block_hash)s
"""
FORGET = "DELETE FROM fee_wallet_coins WHERE block_hash = %(block_hash)s"
_SELECT = """
    SELECT c.outpoint, c.node, c.index, c.value_sat, s.script_pubkey, c.height
    FROM fee_wallet_coins AS c JOIN fee_wallet_scripts AS s USING (node, index)
    WHERE c.spent_height IS NULL
"""
UNSPENT = f"{_SELECT} AND c.node = %(node)s ORDER BY c.value_sat DESC, c.outpoint"
FREE = f"""{_SELECT} AND c.node = %(node)s
      AND NOT EXISTS (
        SELECT 1 FROM broadcast_inputs AS i JOIN broadcasts AS b ON b.id = i.broadcast_id
        WHERE i.outpoint = c.outpoint AND b.state = 'open')
    ORDER BY c.value_sat DESC, c.outpoint
"""
FORGET_ALL = "DELETE FROM fee_wallet_coins"
OUTPOINTS = "SELECT outpoint FROM fee_wallet_coins WHERE spent_height IS NULL"


@dataclass(frozen=True, slots=True)
class FeeCoin:
    """One unspent coin of a node's fee wallet; `index` is its script's place."""

    outpoint: OutPoint
    node: str
    index: int
    value_sat: Satoshi
    script_pubkey: Script
    height: BlockHeight


@dataclass(frozen=True, slots=True)
class NewCoin:
    """An output that pays a script of a fee wallet, and the block that made it."""

    outpoint: OutPoint
    script_pubkey: Script
    value_sat: Satoshi
    height: BlockHeight
    block_hash: BlockHash


def add(conn: Connection, coins: Sequence[NewCoin]) -> None:
    """Store coins of blocks on the best chain; storing one twice is once."""
    facts = {
        "outpoints": [coin.outpoint for coin in coins],
        "scripts": [coin.script_pubkey for coin in coins],
        "values": [coin.value_sat for coin in coins],
        "heights": [coin.height for coin in coins],
        "block_hashes": [coin.block_hash for coin in coins],
    }
    conn.execute(ADD, facts)


def spend(
    conn: Connection, outpoints: Sequence[OutPoint], height: BlockHeight, block_hash: BlockHash
) -> None:
    """These coins are spent by transactions of this block."""
    facts = {"outpoints": list(outpoints), "height": height, "block_hash": block_hash}
    conn.execute(SPEND, facts)


def disconnect(conn: Connection, block_hash: BlockHash) -> None:
    """The block left the best chain: its spends are undone and its coins are gone."""
    conn.execute(UNSPEND, {"block_hash": block_hash})
    conn.execute(FORGET, {"block_hash": block_hash})


def forget_all(conn: Connection) -> None:
    """Nothing is known of any coin until the UTXO set is searched again."""
    conn.execute(FORGET_ALL)


def unspent(conn: Connection, node: str) -> list[FeeCoin]:
    """All of a node, the largest first."""
    return _read(conn, UNSPENT, node)


def free(conn: Connection, node: str) -> list[FeeCoin]:
    """Those that no open broadcast spends, the largest first."""
    return _read(conn, FREE, node)


def pay(conn: Connection, node: str) -> None:
    """Until this transaction ends no other one spends coins of the node: it waits here.

    A worker may not change a coin, and so not lock its row.
    """
    turns.take(conn, f"fee wallet of {node}")


def outpoints(conn: Connection) -> set[OutPoint]:
    """Every unspent coin of every node."""
    return {OutPoint(outpoint) for (outpoint,) in conn.execute(OUTPOINTS)}


def _read(conn: Connection, query: str, node: str) -> list[FeeCoin]:
    with conn.cursor(row_factory=args_row(_coin)) as cursor:
        return cursor.execute(query, {"node": node}).fetchall()


def _coin(
    outpoint: bytes, node: str, index: int, value_sat: int, script_pubkey: bytes, height: int
) -> FeeCoin:
    return FeeCoin(
        outpoint=OutPoint(outpoint),
        node=node,
        index=index,
        value_sat=Satoshi(value_sat),
        script_pubkey=Script(script_pubkey),
        height=BlockHeight(height),
    )
