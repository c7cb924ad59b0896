"""The devnet node: chain, mempool, miner and wallet behind one lock.

Every public method is one whole step: nobody sees the node between a disconnected and a
connected block.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chain.devnet import mining
from chain.devnet.admission import Admission, Admitted
from chain.devnet.blockfile import BlockFile
from chain.devnet.chainstate import Block, ChainState, Move
from chain.devnet.errors import BlockRefused, DevnetError, WalletEmpty
from chain.devnet.mempool import Mempool
from chain.devnet.policy import Refusal
from chain.devnet.wallet import WALLET_SCRIPT, Wallet
from contractcourt.bitcoin.block import parse_header
from contractcourt.bitcoin.transaction import Transaction, TxOut
from contractcourt.units import BlockHash

_MATURE = 110
_WALLET_FEERATE = 1000


@dataclass(frozen=True, slots=True)
class Options:
    """What a devnet can be started with."""

    txindex: bool = True
    blockfilterindex: bool = False
    txospenderindex: bool = False
    rest: bool = True


class Node:
    """One regtest node over one datadir. Callers hold `lock` while they read or change it."""

    def __init__(self, datadir: Path, options: Options) -> None:
        self.lock = threading.RLock()
        self.options = options
        self.chain = ChainState(BlockFile(datadir))
        self.mempool = Mempool()
        self.admission = Admission(self.chain, self.mempool)
        self.wallet = Wallet(self.chain, self.mempool)
        self.fee_estimate: int | None = None
        self.syncing = False
        self.pruned_below: int | None = None
        self.fetched: set[BlockHash] = set()
        self.on_block: list[Callable[[Block], None]] = []
        self._mempool_path = datadir / "mempool.txt"
        self._load_mempool()

    def close(self) -> None:
        """Save the mempool and let go of the kernel."""
        with self.lock:
            text = "".join(f"{entry.raw.hex()}\n" for entry in self.mempool)
            self._mempool_path.write_text(text)
            self.chain.close()

    def submit_block(self, raw: bytes) -> Move:
        """A block from outside. Raises BlockRefused."""
        return self._settle(self.chain.submit(raw))

    def mine(
        self,
        count: int,
        script: bytes = WALLET_SCRIPT,
        transactions: Sequence[Transaction] = (),
        *,
        include_mempool: bool = True,
    ) -> list[Block]:
        """Mine `count` blocks; `transactions` stand in the first, beside the mempool's.

        Raises BlockRefused when consensus refuses `transactions`; nothing has changed then.
        """
        blocks: list[Block] = []
        for index in range(count):
            chosen = transactions if index == 0 else ()
            txs, fees = mining.assemble(self.mempool, chosen, include_mempool=include_mempool)
            raw = mining.build(mining.template_on(self.chain, self.chain.tip, script, txs, fees))
            blocks += self._settle(self.chain.submit(raw)).connected
        return blocks

    def reorg(
        self,
        depth: int,
        new_length: int,
        first_block: Sequence[Transaction] = (),
        *,
        keep_transactions: bool = True,
    ) -> Move:
        """Replace the newest `depth` blocks by `new_length` others, as one step.

        Args:
            first_block: what the first new block holds; the others are empty.
            keep_transactions: what was disconnected returns to the mempool, as in Core.

        Raises BlockRefused when consensus refuses `first_block`.
        """
        fork = self.chain.active[self.chain.tip.height - depth]
        total = Move()
        marks = frozenset(self.chain.invalid)
        if new_length <= depth:
            self._cut_back_to(fork, total)
        at = fork
        try:
            for index in range(new_length):
                txs = first_block if index == 0 else ()
                raw = mining.build(mining.template_on(self.chain, at, WALLET_SCRIPT, txs))
                total.add(self.chain.submit(raw))
                at = self.chain.tree[parse_header(raw).hash]
        except BlockRefused:
            self.chain.mark_invalid(marks)
            raise
        return self._settle(total, keep_transactions=keep_transactions)

    def invalidate(self, block: Block) -> Move:
        return self._settle(self.chain.invalidate(block))

    def reconsider(self, block: Block) -> Move:
        return self._settle(self.chain.reconsider(block))

    def accept(self, tx: Transaction) -> Admitted | Refusal:
        """Offer a transaction to the mempool."""
        return self.admission.accept(tx)

    def pay(self, outputs: Sequence[TxOut], sat_per_kvb: int | None = None) -> Transaction:
        """Pay from the wallet, and broadcast it. A new chain gets blocks of the wallet first.

        Raises WalletEmpty; DevnetError when the mempool refuses it (an output of dust, say).
        """
        rate = max(_WALLET_FEERATE if sat_per_kvb is None else sat_per_kvb, self.admission.floor)
        tx = self.wallet.pay(outputs, rate)
        if tx is None:
            self.mine(_MATURE, include_mempool=False)
            tx = self.wallet.pay(outputs, rate)
        if tx is None:
            raise WalletEmpty("the devnet's wallet cannot pay so much; mine more blocks to it")
        outcome = self.accept(tx)
        if isinstance(outcome, Refusal):
            raise DevnetError(f"the wallet's own transaction is refused: {outcome}")
        return tx

    # -- inside --

    def _cut_back_to(self, fork: Block, total: Move) -> None:
        """Invalidate until `fork` is the tip: an old branch may be longer than what is left."""
        while self.chain.tip is not fork:
            at = self.chain.tip
            while not self._is_ancestor(self.chain.tree[at.prev_hash], fork):
                at = self.chain.tree[at.prev_hash]
            total.add(self.chain.invalidate(at))

    def _is_ancestor(self, block: Block, of: Block) -> bool:
        while of.height > block.height:
            of = self.chain.tree[of.prev_hash]
        return of is block

    def _settle(self, move: Move, *, keep_transactions: bool = True) -> Move:
        """Bring the mempool in line with a chain that moved, then tell of the new blocks."""
        if move.disconnected:
            self._refill(move, keep_transactions)
        else:
            for block in move.connected:
                body = self.chain.body(block)
                self.mempool.block_connected(zip(body.txids, body.transactions, strict=True))
        for block in move.connected:
            for listener in self.on_block:
                listener(block)
        return move

    def _refill(self, move: Move, keep_transactions: bool) -> None:
        """After a reorg everything asks for entry again, the disconnected blocks' own first."""
        candidates: list[Transaction] = []
        if keep_transactions:
            for block in reversed(move.disconnected):
                candidates += self.chain.body(block).transactions[1:]
        candidates += [entry.tx for entry in self.mempool.clear()]
        for tx in candidates:
            self.admission.accept(tx, limits=False)

    def _load_mempool(self) -> None:
        if not self._mempool_path.exists():
            return
        for line in self._mempool_path.read_text().split():
            self.admission.accept(Transaction.parse(bytes.fromhex(line)), limits=False)
        self._mempool_path.unlink()
