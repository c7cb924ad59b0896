"""The block tree and the active chain: the kernel decides, this follows and can be asked.

On regtest every block has the same work, so the longest valid branch wins and the first seen
wins a tie, as the kernel has it.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field

from chain.devnet.blockfile import BlockFile
from chain.devnet.coins import BlockBody, Coin, CoinSet
from chain.devnet.errors import BlockRefused
from chain.devnet.kernel import Kernel
from contractcourt.bitcoin.block import parse_header
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.units import BlockHash, Txid

_MEDIAN_SPAN = 11
_BODIES_KEPT = 64


@dataclass(frozen=True, slots=True)
class Block:
    """One block of the tree, on the active chain or beside it."""

    hash: BlockHash
    prev_hash: BlockHash
    height: int
    time: int
    raw: bytes


@dataclass(slots=True)
class Move:
    """How the active chain changed: tips taken off (newest first), blocks put on (oldest first)."""

    disconnected: list[Block] = field(default_factory=list)
    connected: list[Block] = field(default_factory=list)

    def add(self, later: Move) -> None:
        """Count a later move in."""
        for block in later.disconnected:
            if self.connected and self.connected[-1] is block:
                self.connected.pop()
            else:
                self.disconnected.append(block)
        self.connected += later.connected


class ChainState:
    """All blocks, the active chain and its coins, over one `BlockFile`."""

    def __init__(self, blockfile: BlockFile) -> None:
        self._file = blockfile
        self._kernel = Kernel(self._file.scratch)
        self.coins = CoinSet()
        self.invalid = frozenset(blockfile.read_invalid())
        raw = self._kernel.genesis()
        header = parse_header(raw)
        self.genesis = Block(header.hash, header.prev_hash, 0, header.time, raw)
        self.tree: dict[BlockHash, Block] = {header.hash: self.genesis}
        self.active: list[Block] = [self.genesis]
        self.best_known_height = 0
        self.bytes_kept = len(raw)
        self._bodies: dict[BlockHash, BlockBody] = {}
        self._spent: dict[BlockHash, list[tuple[OutPoint, Coin]]] = {}
        self.found_in: dict[Txid, tuple[Block, int]] = {}
        for raw in blockfile.read():
            self._plant(raw)
        self._show_all()
        self._follow()

    def close(self) -> None:
        """Let go of the kernel and of the file."""
        self._kernel.close()
        self._file.close()

    # -- asking --

    @property
    def tip(self) -> Block:
        return self.active[-1]

    def is_active(self, block: Block) -> bool:
        return block.height < len(self.active) and self.active[block.height] is block

    def body(self, block: Block) -> BlockBody:
        """The block's transactions; those of the blocks asked for last are kept."""
        found = self._bodies.get(block.hash)
        if found is None:
            found = self._bodies[block.hash] = BlockBody.read(block.raw)
            if len(self._bodies) > _BODIES_KEPT:
                del self._bodies[next(iter(self._bodies))]
        return found

    def spent_by(self, block: Block) -> list[tuple[OutPoint, Coin]]:
        """The coins that an active block spent, in its order."""
        return self._spent.get(block.hash, [])

    def median_time(self, block: Block) -> int:
        """BIP 113: the median time of this block and the ten before it."""
        times: list[int] = []
        at: Block | None = block
        while at is not None and len(times) < _MEDIAN_SPAN:
            times.append(at.time)
            at = self.tree.get(at.prev_hash)
        return sorted(times)[len(times) // 2]

    def leaves(self) -> list[Block]:
        """The ends of all branches, the highest first."""
        parents = {block.prev_hash for block in self.tree.values()}
        ends = [block for block in self.tree.values() if block.hash not in parents]
        if self.tip not in ends:
            ends.append(self.tip)
        return sorted(ends, key=lambda block: -block.height)

    def is_invalid(self, block: Block) -> bool:
        """This block or one below it was invalidated."""
        at: Block | None = block
        while at is not None:
            if at.hash in self.invalid:
                return True
            at = self.tree.get(at.prev_hash)
        return False

    # -- changing --

    def submit(self, raw: bytes) -> Move:
        """Show a block to consensus and follow its tip. A known block changes nothing.

        Raises BlockRefused with the reason; nothing has changed then.
        """
        if len(raw) < 81:
            raise BlockRefused("Block decode failed")
        header = parse_header(raw)
        if header.hash in self.tree:
            return Move()
        if header.prev_hash in self.tree and self.is_invalid(self.tree[header.prev_hash]):
            raise BlockRefused("bad-prevblk")
        self._kernel.process(raw)
        self._plant(raw)
        self._file.append(raw)
        return self._follow()

    def invalidate(self, block: Block) -> Move:
        """Treat this block and everything on it as invalid, and follow the best of the rest."""
        return self.mark_invalid(self.invalid | {block.hash})

    def reconsider(self, block: Block) -> Move:
        """Take back an `invalidate` of this block, of one below it or of one on it."""
        marks = (self.tree[mark] for mark in self.invalid if mark in self.tree)
        kept = {mark.hash for mark in marks if not self._related(mark, block)}
        return self.mark_invalid(kept)

    def mark_invalid(self, hashes: Collection[BlockHash]) -> Move:
        """Treat exactly these blocks as invalid, and follow the best of the rest."""
        self.invalid = frozenset(hashes)
        self._file.write_invalid(self.invalid)
        self._begin_again()
        return self._follow()

    def reason_against(self, raw: bytes) -> str | None:
        """Why consensus refuses this block, which is not kept in any case; None if it does not."""
        try:
            self._kernel.process(raw)
        except BlockRefused as error:
            return str(error)
        self._begin_again()
        return None

    # -- inside --

    def _related(self, one: Block, other: Block) -> bool:
        low, high = sorted((one, other), key=lambda block: block.height)
        while high.height > low.height:
            high = self.tree[high.prev_hash]
        return high is low

    def _plant(self, raw: bytes) -> None:
        header = parse_header(raw)
        parent = self.tree[header.prev_hash]
        height = parent.height + 1
        self.tree[header.hash] = Block(header.hash, header.prev_hash, height, header.time, raw)
        self.best_known_height = max(self.best_known_height, height)
        self.bytes_kept += len(raw)

    def _begin_again(self) -> None:
        self._kernel.close()
        self._kernel = Kernel(self._file.scratch)
        self._show_all()

    def _show_all(self) -> None:
        unfit = set(self.invalid)
        for block in self.tree.values():  # in the order of arrival: a parent before its children
            if block.height == 0 or block.hash in unfit:
                continue
            if block.prev_hash in unfit:
                unfit.add(block.hash)
            else:
                with suppress(BlockRefused):  # beside the active chain, and never valid
                    self._kernel.process(block.raw)

    def _follow(self) -> Move:
        """Move the active chain to the kernel's tip."""
        move = Move()
        height = self._kernel.height()
        fork = min(height, self.tip.height)
        while self.active[fork].hash != self._kernel.hash_at(fork):
            fork -= 1
        while self.tip.height > fork:
            block = self.active.pop()
            self.coins.disconnect(self.body(block), self._spent.pop(block.hash))
            for txid in self.body(block).txids:
                self.found_in.pop(txid, None)
            move.disconnected.append(block)
        for at in range(fork + 1, height + 1):
            block = self.tree[self._kernel.hash_at(at)]
            body = self.body(block)
            self._spent[block.hash] = self.coins.connect(body, at)
            for position, txid in enumerate(body.txids):
                self.found_in[txid] = (block, position)
            self.active.append(block)
            move.connected.append(block)
        return move
