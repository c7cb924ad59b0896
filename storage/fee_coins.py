"""The coins of the fee wallets, as the watcher sees them on the best chain.

A coin is there when its block is, and spent when the spender's block is: what a reorg takes, it
takes back here too, in the same commit as the cursor. The transaction that made it (`Parent`)
proves to the signer what it is worth; of a coin that was found in the UTXO set it may be unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import args_row

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.units import BlockHash, BlockHeight, HexBytes, Satoshi, Script, Txid
from storage import turns
from storage.database import Connection

#: What is larger no node relays, and too many such would be more than a signer reads. Bytes.
MOST_PARENT_BYTES = 100_000
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
PUT_PARENTS = """
    INSERT INTO fee_wallet_parents (txid, raw_tx)
    SELECT * FROM unnest(%(txids)s::bytea[], %(raw_txs)s::bytea[])
    ON CONFLICT (txid) DO NOTHING
"""
_WITH_PARENT = "LEFT JOIN fee_wallet_parents AS p ON p.txid = substring(c.outpoint FROM 1 FOR 32)"
_SELECT = f"""
    SELECT c.outpoint, c.node, c.index, c.value_sat, s.script_pubkey, c.height,
           p.txid IS NOT NULL
    FROM fee_wallet_coins AS c JOIN fee_wallet_scripts AS s USING (node, index)
    {_WITH_PARENT}
    WHERE c.spent_height IS NULL
"""
ORPHANS = f"""
    SELECT c.outpoint, c.height, c.block_hash FROM fee_wallet_coins AS c {_WITH_PARENT}
    WHERE c.spent_height IS NULL AND p.txid IS NULL
    ORDER BY c.value_sat DESC, c.outpoint
    LIMIT %(limit)s
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
    """One unspent coin of a node's fee wallet; `index` is its script's place.

    `proved`: its parent is stored.
    """

    outpoint: OutPoint
    node: str
    index: int
    value_sat: Satoshi
    script_pubkey: Script
    height: BlockHeight
    proved: bool


@dataclass(frozen=True, slots=True)
class Parent:
    """A transaction that made coins, without witness: `txid` is the hash of `raw_tx`."""

    txid: Txid
    raw_tx: HexBytes


@dataclass(frozen=True, slots=True)
class Orphan:
    """An unspent coin whose parent is not stored, and its block; None where nobody asked."""

    outpoint: OutPoint
    height: BlockHeight
    block_hash: BlockHash | None


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


def add_parents(conn: Connection, parents: Sequence[Parent]) -> None:
    """Store transactions that made coins; those larger than any that nodes relay are left out."""
    fitting = [one for one in parents if len(one.raw_tx) <= MOST_PARENT_BYTES]
    if fitting:
        facts = {
            "txids": [one.txid for one in fitting],
            "raw_txs": [one.raw_tx for one in fitting],
        }
        conn.execute(PUT_PARENTS, facts)


def orphans(conn: Connection, limit: int) -> list[Orphan]:
    """Coins of all nodes without a parent, the largest first."""
    return [
        Orphan(
            OutPoint(outpoint),
            BlockHeight(height),
            None if block_hash is None else BlockHash(block_hash),
        )
        for outpoint, height, block_hash in conn.execute(ORPHANS, {"limit": limit})
    ]


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
    outpoint: bytes,
    node: str,
    index: int,
    value_sat: int,
    script_pubkey: bytes,
    height: int,
    proved: bool,
) -> FeeCoin:
    return FeeCoin(
        outpoint=OutPoint(outpoint),
        node=node,
        index=index,
        value_sat=Satoshi(value_sat),
        script_pubkey=Script(script_pubkey),
        height=BlockHeight(height),
        proved=proved,
    )
