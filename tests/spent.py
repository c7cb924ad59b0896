"""The event of a spend, from the transaction that the test has in hand."""

from __future__ import annotations

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.events import SpendConfirmed
from contractcourt.units import BlockHash, BlockHeight, HexBytes

#: Of a block that nobody looks for.
SOME_BLOCK = BlockHash(b"\x01" * 32)


def spent(
    outpoint: OutPoint,
    tx: Transaction,
    height: int,
    *,
    block_hash: BlockHash = SOME_BLOCK,
    tip_height: int | None = None,
) -> SpendConfirmed:
    """`tx` spends `outpoint` in the block at `height`, the tip unless another is named."""
    return SpendConfirmed(
        outpoint=outpoint,
        txid=tx.txid(),
        tx=HexBytes(tx.serialize()),
        height=BlockHeight(height),
        block_hash=block_hash,
        tip_height=BlockHeight(height if tip_height is None else tip_height),
    )
