"""A chain of blocks in memory: heights, transactions, spends and reorgs; no consensus."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.units import BlockHash, BlockHeight, Txid


@dataclass(frozen=True, slots=True)
class MemoryBlock:
    """One block: where it stands and what it holds."""

    hash: BlockHash
    height: BlockHeight
    transactions: tuple[Transaction, ...]


class MemoryChain:
    """The best chain, and the transactions that wait for a block."""

    def __init__(self, height: int = 100) -> None:
        self.base = height
        self.blocks: list[MemoryBlock] = []
        self.mempool: dict[Txid, Transaction] = {}
        self._made = 0

    @property
    def height(self) -> BlockHeight:
        return BlockHeight(self.base + len(self.blocks))

    def fork(self) -> MemoryChain:
        """The same chain once more."""
        other = copy(self)
        other.blocks = list(self.blocks)
        other.mempool = dict(self.mempool)
        return other

    def made(self, outpoint: OutPoint) -> bool:
        """Whether the transaction with this output is on the best chain."""
        return any(tx.txid() == outpoint.txid for b in self.blocks for tx in b.transactions)

    def spender(self, outpoint: OutPoint) -> tuple[MemoryBlock, Transaction] | None:
        """Who spent this outpoint on the best chain."""
        for block in self.blocks:
            for tx in block.transactions:
                if any(i.outpoint == outpoint for i in tx.inputs):
                    return block, tx
        return None

    def conflict(self, tx: Transaction) -> bool:
        """Some input of `tx` is spent already, on the chain or in the mempool, by another."""
        txid = tx.txid()
        for item in tx.inputs:
            found = self.spender(item.outpoint)
            if found is not None and found[1].txid() != txid:
                return True
            for other in self.mempool.values():
                if other.txid() != txid and any(i.outpoint == item.outpoint for i in other.inputs):
                    return True
        return False

    def takes(self, tx: Transaction) -> bool:
        """Whether it may enter the mempool: nothing that it spends is spent."""
        mined = any(self.spender(item.outpoint) is not None for item in tx.inputs)
        return not mined and not self.conflict(tx)

    def connect(self, transactions: Iterable[Transaction] = ()) -> MemoryBlock:
        """Mine these transactions; conflicting ones leave the mempool."""
        self._made += 1
        mined = tuple(transactions)
        digest = hashlib.sha256(f"block {self._made}".encode()).digest()
        block = MemoryBlock(BlockHash(digest), BlockHeight(self.height + 1), mined)
        self.blocks.append(block)
        spent = {i.outpoint for tx in mined for i in tx.inputs}
        gone = [
            txid for txid, tx in self.mempool.items() if any(i.outpoint in spent for i in tx.inputs)
        ]
        for txid in gone:
            del self.mempool[txid]
        return block

    def disconnect(self) -> MemoryBlock:
        """Take the tip away. Its transactions are forgotten unless somebody sends them again."""
        return self.blocks.pop()
