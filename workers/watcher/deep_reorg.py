"""A reorg below the blocks that the court remembers: undone by asking, not by remembering.

Memory is short when the court is young, and a testnet may be rewritten for thousands of blocks.
Every spend that was told names its block, so the node can say of each whether that is still on the
best chain. What is not is taken back; the cursor is set on the tip; and for whatever is unspent as
far as the court knows, the chain is searched again (users_ask B6).
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from chain.view import ChainState, ChainView
from contractcourt.units import BlockHash, BlockHeight
from storage import blocks, fee_coins, fee_wallets, lease, spends, watches
from storage.blocks import Cursor
from storage.database import Connection, Database
from storage.docket import NewEntry
from workers.watcher import following
from workers.watcher.following import Woken
from workers.watcher.watchlist import Watchlist

_log = structlog.get_logger()


def tip_and_ancestors(
    chain: ChainView, state: ChainState, depth: int
) -> tuple[BlockHash, ...] | None:
    """The hashes from the tip downwards; None when the chain moved while we asked."""
    lowest = max(0, state.height - depth)
    heights = [BlockHeight(height) for height in range(state.height, lowest - 1, -1)]
    hashes = chain.block_hashes(heights)
    if hashes[0] != state.best_hash:
        return None
    return tuple(block_hash for block_hash in hashes if block_hash is not None)


def leap(
    db: Database,
    chain: ChainView,
    state: ChainState,
    watchlist: Watchlist,
    epoch: int,
    *,
    depth: int,
) -> tuple[Cursor, Woken] | None:
    """The cursor on the node's tip and the channels concerned; None when the chain moves on.

    Args:
        depth: so many blocks below the tip are remembered from now on.

    Raises ChainError, psycopg.Error or Fenced; then nothing has changed.
    """
    with db.transaction() as conn:
        believed = spends.confirming_blocks(conn)
    gone = _gone(chain, believed)
    hashes = tip_and_ancestors(chain, state, depth)
    if hashes is None:
        return None
    with db.transaction() as conn:
        lease.hold(conn, lease.CHAIN_WATCHER, epoch)
        watchlist.refresh(conn)
        cursor = blocks.leap(conn, state.height, hashes[0], hashes[1:], epoch)
        told = _take_back(conn, gone, cursor)
        searched = watches.look_back_again(conn)
        fee_coins.forget_all(conn)
        fee_wallets.scan_again(conn)
    _log.warning("a deep reorg", blocks_of_spends_gone=len(gone), outpoints_to_search=searched)
    return cursor, told


def _gone(
    chain: ChainView, believed: Sequence[tuple[BlockHeight, BlockHash]]
) -> list[tuple[BlockHeight, BlockHash]]:
    """Those that are not on the best chain, the highest first."""
    hashes = chain.block_hashes([height for height, _ in believed])
    return [
        (height, block_hash)
        for (height, block_hash), now in zip(believed, hashes, strict=True)
        if now != block_hash
    ][::-1]


def _take_back(
    conn: Connection, gone: Sequence[tuple[BlockHeight, BlockHash]], cursor: Cursor
) -> Woken:
    entries: list[NewEntry] = []
    for height, block_hash in gone:
        below = BlockHeight(min(height - 1, cursor.height))
        entries += following.taken_back(conn, block_hash, below, cursor.step)
    return following.tell(conn, entries)
