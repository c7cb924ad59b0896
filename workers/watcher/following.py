"""Moving the cursor along the best chain, one block and one commit at a time.

Each commit holds the block's events, the fired deadlines and the cursor, and is fenced by the
leader's epoch. The step number in every idempotency key makes a block that leaves and comes
back tell its events again.
"""

from __future__ import annotations

from dataclasses import dataclass

from chain.bitcoin_core import BitcoinCore
from chain.errors import BlockUnavailable
from contractcourt.bitcoin.block import BlockSpend, parse_header, spends_of
from contractcourt.events import HeightReached, SpendConfirmed, SpendUnconfirmed
from contractcourt.units import BlockHash, BlockHeight, HexBytes
from storage import blocks, deadlines, docket, spends
from storage.blocks import Cursor
from storage.database import Connection
from storage.docket import NewEntry
from storage.spends import ConfirmedSpend
from workers.watcher.watchlist import Watchlist

#: Deadlines fired in one commit; a height with more takes several.
_MOST_DUE = 2_000


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the best chain, read and checked to follow the cursor."""

    height: BlockHeight
    hash: BlockHash
    prev_hash: BlockHash
    raw: bytes


def next_block(chain: BitcoinCore, cursor: Cursor) -> Block | None:
    """The block after the cursor; None at the tip, or when a reorg is under way.

    Raises BlockUnavailable, naming it, when it can't be read: a block is never skipped.
    """
    height = BlockHeight(cursor.height + 1)
    block_hash = chain.block_hash(height)
    if block_hash is None:
        return None
    try:
        raw = chain.raw_block(block_hash)
    except BlockUnavailable as error:
        raise BlockUnavailable(f"block {block_hash} at height {height}: {error}") from error
    header = parse_header(raw)
    if header.prev_hash != cursor.hash:
        return None
    return Block(height, block_hash, header.prev_hash, raw)


def connect(conn: Connection, block: Block, watchlist: Watchlist, epoch: int) -> set[int]:
    """Put the block's events on the dockets and move the cursor up; the channels concerned."""
    found = spends_of(block.raw, watchlist.outpoints)
    step = blocks.connect(conn, block.height, block.hash, block.prev_hash, epoch)
    entries = [
        _spend_entry(channel_id, spend, block.height, block.hash, block.height, step)
        for spend in found
        for channel_id in watchlist.channels_of(spend.outpoint)
    ]
    spends.record_many(
        conn,
        [
            ConfirmedSpend(
                watchlist.channels_of(spend.outpoint)[0],
                spend.outpoint,
                spend.txid,
                HexBytes(spend.raw_tx),
                block.height,
                block.hash,
            )
            for spend in found
        ],
    )
    docket.append_many(conn, entries)
    return {entry.channel_id for entry in entries} | fire_due(conn, block.height, step)


def _spend_entry(
    channel_id: int,
    spend: BlockSpend,
    height: BlockHeight,
    block_hash: BlockHash,
    tip_height: BlockHeight,
    step: int,
) -> NewEntry:
    event = SpendConfirmed(
        outpoint=spend.outpoint,
        txid=spend.txid,
        tx=HexBytes(spend.raw_tx),
        height=height,
        block_hash=block_hash,
        tip_height=tip_height,
    )
    return NewEntry(channel_id, event, f"spend:{step}:{spend.outpoint}", "chain")


def fire_due(conn: Connection, height: BlockHeight, step: int) -> set[int]:
    """Wake the cases whose deadlines are at or below `height`; the channels woken."""
    due = deadlines.due(conn, height, _MOST_DUE)
    if not due:
        return set()
    lowest: dict[int, BlockHeight] = {}
    for channel_id, due_height in due:
        lowest.setdefault(channel_id, due_height)
    docket.append_many(
        conn,
        [
            NewEntry(c, HeightReached(height), f"height:{step}:{lowest[c]}:{height}", "chain")
            for c in sorted(lowest)
        ],
    )
    deadlines.delete_fired(conn, due)
    return set(lowest)


def disconnect(
    conn: Connection, height: BlockHeight, block_hash: BlockHash, watchlist: Watchlist, epoch: int
) -> set[int]:
    """Take a block's events back and move the cursor down; the channels concerned."""
    step = blocks.disconnect(conn, height, block_hash, epoch)
    gone = spends.mark_stale(conn, block_hash)
    tip_height = BlockHeight(height - 1)
    entries = [
        NewEntry(
            channel_id,
            SpendUnconfirmed(spend.outpoint, spend.txid, block_hash, tip_height),
            f"unspend:{step}:{spend.outpoint}",
            "chain",
        )
        for spend in gone
        for channel_id in watchlist.channels_of(spend.outpoint) or (spend.channel_id,)
    ]
    docket.append_many(conn, entries)
    return {entry.channel_id for entry in entries}


def record_earlier_spend(
    conn: Connection, channel_id: int, spend: ConfirmedSpend, cursor: Cursor
) -> None:
    """Put a spend from below the cursor on a docket."""
    spends.record_many(conn, [spend])
    event = SpendConfirmed(
        outpoint=spend.outpoint,
        txid=spend.txid,
        tx=spend.raw_tx,
        height=spend.height,
        block_hash=spend.block_hash,
        tip_height=cursor.height,
    )
    key = f"earlier:{cursor.step}:{spend.block_hash}:{spend.outpoint}"
    docket.append_many(conn, [NewEntry(channel_id, event, key, "chain")])
