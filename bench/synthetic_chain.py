"""A chain whose blocks are made up as they are asked for: no node's time is in the figures.

Each block is one of a few bodies behind a header of its own. Nothing in it touches a channel,
unless a spend was put there.
"""

from __future__ import annotations

from collections.abc import Sequence

from chain.devnet.filters import coded_set
from chain.view import ChainState, MempoolFees, MempoolSpend, PublishResult, Scan, UnspentOutput
from contractcourt.bitcoin.block import walk
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, sha256d
from contractcourt.events import PublishOutcome
from contractcourt.units import BlockHash, BlockHeight, FeeratePerKw, Satoshi, Script


class SyntheticChain:
    """Implements `ChainView` over made-up blocks.

    Args:
        bodies: what follows a block's header, taken in turn.
        filters: whether block filters are served.
    """

    def __init__(self, bodies: Sequence[bytes], *, filters: bool = False) -> None:
        self._bodies = bodies
        self._hashes: list[BlockHash] = []
        self._headers: dict[BlockHash, tuple[bytes, int]] = {}
        self._put: dict[int, tuple[bytes, Script]] = {}
        self._scripts = [_scripts(body) for body in bodies] if filters else None
        self._coded: dict[BlockHash, bytes] = {}
        self.spent: set[OutPoint] = set()
        self.bytes_read = 0
        self.grow(1)

    def grow(self, blocks: int) -> None:
        """So many more blocks on top."""
        for _ in range(blocks):
            height = len(self._hashes)
            previous = bytes(self._hashes[-1]) if self._hashes else bytes(32)
            header = bytes(4) + previous + height.to_bytes(40, "little") + bytes(4)
            block_hash = BlockHash(sha256d(header))
            self._hashes.append(block_hash)
            self._headers[block_hash] = header, height

    def put_spend(self, height: int, outpoint: OutPoint, script: Script, body: bytes) -> None:
        """Let the block at `height` have this body, which spends `outpoint`."""
        self._put[height] = body, script
        self.spent.add(outpoint)

    def make_filters(self) -> None:
        """Make every filter now, so that making them is in no figure."""
        self.block_filters(self._hashes)

    def state(self) -> ChainState:
        tip = BlockHeight(len(self._hashes) - 1)
        return ChainState("regtest", tip, self._hashes[-1], syncing=False, prune_height=None)

    def block_hash(self, height: BlockHeight) -> BlockHash | None:
        return self._hashes[height] if height < len(self._hashes) else None

    def block_hashes(self, heights: Sequence[BlockHeight]) -> list[BlockHash | None]:
        return [self.block_hash(height) for height in heights]

    def raw_block(self, block_hash: BlockHash) -> bytes:
        header, height = self._headers[block_hash]
        body = self._put[height][0] if height in self._put else self._body(height)
        self.bytes_read += len(header) + len(body)
        return header + body

    def block_filters(self, block_hashes: Sequence[BlockHash]) -> list[bytes | None]:
        if self._scripts is None:
            return [None] * len(block_hashes)
        return [self._filter(block_hash) for block_hash in block_hashes]

    def spending_blocks(
        self, outpoints: Sequence[OutPoint]
    ) -> dict[OutPoint, tuple[BlockHeight, BlockHash]] | None:
        del outpoints
        return None

    def tx_out(self, outpoint: OutPoint, *, mempool: bool = False) -> UnspentOutput | None:
        del mempool
        if outpoint in self.spent:
            return None
        return UnspentOutput(Satoshi(1_000_000), Script(b"\x00\x20" + bytes(32)), 6)

    def tx_outs(
        self, outpoints: Sequence[OutPoint], *, mempool: bool = False
    ) -> list[UnspentOutput | None]:
        return [self.tx_out(outpoint, mempool=mempool) for outpoint in outpoints]

    def fetch_from_peers(self, height: BlockHeight) -> bool:
        del height
        return False

    def mempool_spends(self, outpoints: Sequence[OutPoint]) -> dict[OutPoint, MempoolSpend]:
        del outpoints
        return {}

    def scan(self, scripts: Sequence[Script]) -> Scan:
        del scripts
        return Scan(self._hashes[-1], self.state().height, ())

    def send(self, raw_tx: bytes) -> PublishResult:
        return self.send_many([raw_tx])[0]

    def send_many(self, raw_transactions: Sequence[bytes]) -> list[PublishResult]:
        return [PublishResult(PublishOutcome.ACCEPTED) for _ in raw_transactions]

    def test_accept(self, raw_transactions: Sequence[bytes]) -> list[PublishResult]:
        return self.send_many(raw_transactions)

    def submit_package(self, raw_transactions: Sequence[bytes]) -> list[PublishResult]:
        return self.send_many(raw_transactions)

    def feerates(self, targets: Sequence[int]) -> list[FeeratePerKw | None]:
        return [None] * len(targets)

    def mempool_fees(self) -> MempoolFees:
        return MempoolFees(FeeratePerKw(253), FeeratePerKw(253))

    def _body(self, height: int) -> bytes:
        return self._bodies[height % len(self._bodies)]

    def _filter(self, block_hash: BlockHash) -> bytes:
        if block_hash not in self._coded:
            assert self._scripts is not None
            height = self._headers[block_hash][1]
            scripts = set(self._scripts[height % len(self._scripts)])
            if height in self._put:
                scripts.add(bytes(self._put[height][1]))
            self._coded[block_hash] = coded_set(block_hash, scripts)
        return self._coded[block_hash]


def _scripts(body: bytes) -> set[bytes]:
    found: set[bytes] = set()
    for item in walk(bytes(80) + body)[1]:
        found |= {bytes(output.script_pubkey) for output in Transaction.parse(item.raw).outputs}
    return found
