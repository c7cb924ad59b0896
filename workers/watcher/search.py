"""One search through past blocks, newest first, a slice at a time.

An index of spenders (`-txospenderindex`) or block filters narrow it where the node has them; blocks
prove what they find, so the answer is the same with either and with neither (users_ask B3, B4).
Nothing above the cursor of its beginning is searched: from there on the walk sees these outpoints
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from chain import filters
from chain.errors import BlockUnavailable, MalformedFilter
from chain.view import ChainView
from contractcourt.bitcoin.block import spends_of
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.errors import MalformedBlock
from contractcourt.units import BlockHash, BlockHeight
from storage.blocks import Cursor
from storage.spends import ConfirmedSpend
from storage.watches import Watch
from workers.watcher.unreadable import UnreadableBlock, read_block

_log = structlog.get_logger()
_PROGRESS_EVERY = 500
#: Hashing more scripts for each filter would cost more than reading the block.
_MOST_SCRIPTS = 500


class Search:
    """Who spent these outpoints, in the blocks from `since` down to where the oldest was made."""

    def __init__(self, watched: Sequence[Watch], since: Cursor, most_blocks: int) -> None:
        self.watched = {watch.id: watch for watch in watched}
        self.since = since
        self.found: dict[OutPoint, ConfirmedSpend] = {}
        self._channel_of = {bytes(watch.outpoint): watch.channel_id for watch in watched}
        self._next = since.height
        bound = BlockHeight(max(1, since.height - most_blocks + 1))
        begins = [bound if w.from_height is None else w.from_height for w in watched]
        self._lowest = max(1, min(begins, default=bound))
        self._asks_index = True
        self._asks_filters = len({watch.script_pubkey for watch in watched}) <= _MOST_SCRIPTS

    @property
    def is_over(self) -> bool:
        """Everything was found, or the last block was read."""
        return self._next < self._lowest or not self._channel_of

    @property
    def is_bounded(self) -> bool:
        """Blocks are left below it."""
        return self._lowest > 1

    def keep_only(self, ids: set[int]) -> None:
        """Nobody asks for the others any more."""
        if not self.watched.keys() <= ids:
            self.watched = {one: watch for one, watch in self.watched.items() if one in ids}
            asked = {bytes(watch.outpoint) for watch in self.watched.values()}
            self._channel_of = {o: c for o, c in self._channel_of.items() if o in asked}

    def go_on(self, chain: ChainView, blocks: int, keep: Callable[[], None]) -> None:
        """Search the next `blocks` blocks; `keep` is called for each one.

        Raises UnreadableBlock, naming it, when one of them can't be read; the search goes on
        from there.
        """
        if self.is_over:
            return
        if self._asks_index:
            keep()
            self._read_what_the_index_names(chain)
            self._asks_index = False
            if self.is_over:
                return
        stop = max(self._lowest - 1, self._next - blocks)
        heights = [BlockHeight(height) for height in range(self._next, stop, -1)]
        hashes = self._hashes(chain, heights)
        worth = self._worth_reading(chain, hashes)
        for height, block_hash in zip(heights, hashes, strict=True):
            keep()
            if block_hash in worth:
                self._read(chain, height, block_hash)
            self._next = BlockHeight(height - 1)
            if self.is_over:
                return
            if height % _PROGRESS_EVERY == 0:
                left = len(self._channel_of)
                _log.info("looking back", height=height, down_to=self._lowest, outpoints=left)

    def _read_what_the_index_names(self, chain: ChainView) -> None:
        """What it does not name is searched for as if there were no index."""
        named = chain.spending_blocks([OutPoint(outpoint) for outpoint in self._channel_of])
        for height, block_hash in sorted(set((named or {}).values())):
            if height <= self.since.height:
                self._read(chain, height, block_hash)

    def _hashes(self, chain: ChainView, heights: Sequence[BlockHeight]) -> list[BlockHash]:
        hashes = []
        for height, block_hash in zip(heights, chain.block_hashes(heights), strict=True):
            if block_hash is None:
                raise BlockUnavailable(f"the Bitcoin node has no block at height {height} now")
            hashes.append(block_hash)
        return hashes

    def _worth_reading(self, chain: ChainView, hashes: Sequence[BlockHash]) -> set[BlockHash]:
        """Blocks whose filter may name one of our scripts, or that have no filter."""
        if not self._asks_filters:
            return set(hashes)
        scripts = {
            bytes(watch.script_pubkey)
            for watch in self.watched.values()
            if bytes(watch.outpoint) in self._channel_of
        }
        if b"" in scripts:
            # Whoever knows an outpoint alone: no filter names it.
            return set(hashes)
        served = chain.block_filters(hashes)
        self._asks_filters = any(one is not None for one in served)
        return {
            block_hash
            for block_hash, block_filter in zip(hashes, served, strict=True)
            if block_filter is None or _may_match(block_filter, block_hash, scripts)
        }

    def _read(self, chain: ChainView, height: BlockHeight, block_hash: BlockHash) -> None:
        raw = read_block(chain, height, block_hash)
        try:
            spends = spends_of(raw, self._channel_of)
        except MalformedBlock as error:
            raise UnreadableBlock(height, block_hash, error) from error
        for spend in spends:
            channel_id = self._channel_of.pop(bytes(spend.outpoint))
            self.found[spend.outpoint] = ConfirmedSpend(
                channel_id, spend.outpoint, spend.txid, spend.raw_tx, height, block_hash
            )


def _may_match(block_filter: bytes, block_hash: BlockHash, scripts: set[bytes]) -> bool:
    try:
        return filters.matches(block_filter, block_hash, scripts)
    except MalformedFilter:
        return True
