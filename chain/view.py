"""What the court asks of Bitcoin, and nothing more: one narrow interface.

`bitcoin_core.BitcoinCore` implements it over Bitcoin Core's RPC, for a real node and for the
devnet alike, since that answers the same calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.events import PublishOutcome
from contractcourt.units import BlockHash, BlockHeight, FeeratePerKw, Satoshi, Script, Txid


@dataclass(frozen=True, slots=True)
class PublishResult:
    """What the node said of one transaction; `reason` is its own text."""

    outcome: PublishOutcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class UnspentOutput:
    """An output that nobody has spent. `confirmations` is 0 in the mempool."""

    value_sat: Satoshi
    script_pubkey: Script
    confirmations: int


@dataclass(frozen=True, slots=True)
class MempoolSpend:
    """A transaction of the mempool that spends an output asked for."""

    txid: Txid
    raw_tx: bytes


@dataclass(frozen=True, slots=True)
class MempoolFees:
    """The least feerate that the mempool takes now, and its step for a replacement (BIP 125)."""

    floor: FeeratePerKw
    incremental: FeeratePerKw


@dataclass(frozen=True, slots=True)
class ScannedOutput:
    """An unspent output that a scan found; `height` is its block's."""

    outpoint: OutPoint
    value_sat: Satoshi
    script_pubkey: Script
    height: BlockHeight
    coinbase: bool


@dataclass(frozen=True, slots=True)
class Scan:
    """Every unspent output of some scripts, as they stood at the tip `best_hash` at `height`."""

    best_hash: BlockHash
    height: BlockHeight
    outputs: tuple[ScannedOutput, ...]


@dataclass(frozen=True, slots=True)
class ChainState:
    """Where the node stands.

    `prune_height` is the lowest block it still has, if it prunes; `work` the expected hashes that
    its best chain took.
    """

    network: str
    height: BlockHeight
    best_hash: BlockHash
    syncing: bool
    prune_height: BlockHeight | None
    work: int = 0


class ChainView(Protocol):
    """A view of the best chain and a way into the mempool. Every call may raise ChainError."""

    def state(self) -> ChainState:
        """Network, tip, whether the node still syncs, how far it is pruned."""

    def block_hash(self, height: BlockHeight) -> BlockHash | None:
        """The best chain's block at this height; None above the tip."""

    def block_hashes(self, heights: Sequence[BlockHeight]) -> list[BlockHash | None]:
        """`block_hash` of many."""

    def raw_block(self, block_hash: BlockHash) -> bytes:
        """A whole block with witnesses. Raises BlockUnavailable when it can't be read."""

    def block_filters(self, block_hashes: Sequence[BlockHash]) -> list[bytes | None]:
        """BIP 158 basic filters; None for each one that the node does not serve."""

    def spending_blocks(
        self, outpoints: Sequence[OutPoint]
    ) -> dict[OutPoint, tuple[BlockHeight, BlockHash]] | None:
        """The blocks of the best chain in which these were spent, by the node's index of spenders;
        None when it has none. A block proves it, as with a filter.
        """

    def fetch_from_peers(self, height: BlockHeight) -> bool:
        """Ask peers for a block that was pruned; whether any was asked."""

    def tx_out(self, outpoint: OutPoint, *, mempool: bool = False) -> UnspentOutput | None:
        """An output, if nobody has spent it (in the mempool neither, when `mempool`)."""

    def tx_outs(
        self, outpoints: Sequence[OutPoint], *, mempool: bool = False
    ) -> list[UnspentOutput | None]:
        """`tx_out` of many."""

    def mempool_spends(self, outpoints: Sequence[OutPoint]) -> dict[OutPoint, MempoolSpend]:
        """Who spends these in the mempool; those that nobody does are left out."""

    def scan(self, scripts: Sequence[Script]) -> Scan:
        """Search the whole UTXO set for outputs to these scripts: minutes, on mainnet."""

    def send(self, raw_tx: bytes) -> PublishResult:
        """Give a transaction to the node. A refusal is an answer, not an error."""

    def send_many(self, raw_transactions: Sequence[bytes]) -> list[PublishResult]:
        """`send` of many."""

    def test_accept(self, raw_transactions: Sequence[bytes]) -> list[PublishResult]:
        """What `send` would say to each by itself; nothing is sent."""

    def submit_package(self, raw_transactions: Sequence[bytes]) -> list[PublishResult]:
        """Give a parent and its child to the node together, so that the child's fee counts for
        both. A node that can't take packages gets them one by one.
        """

    def feerates(self, targets: Sequence[int]) -> list[FeeratePerKw | None]:
        """Estimates for these numbers of blocks; None where there is none."""

    def mempool_fees(self) -> MempoolFees:
        """What the node's mempool asks for now, rounded up."""
