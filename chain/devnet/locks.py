"""Absolute and relative locks: when a transaction may be mined (BIP 68, 112, 113)."""

from __future__ import annotations

from collections.abc import Sequence

from chain.devnet.chainstate import ChainState
from chain.devnet.coins import Coin
from contractcourt.bitcoin.transaction import Transaction

_TIME_THRESHOLD = 500_000_000
_FINAL = 0xFFFFFFFF
_DISABLED = 1 << 31
_BY_TIME = 1 << 22
_MASK = 0xFFFF
_TIME_SHIFT = 9


def is_final(tx: Transaction, chain: ChainState) -> bool:
    """The lock time allows the next block, or every input waives it."""
    tip = chain.tip
    now = tip.height + 1 if tx.locktime < _TIME_THRESHOLD else chain.median_time(tip)
    return tx.locktime < now or all(item.sequence == _FINAL for item in tx.inputs)


def relative_locks_passed(tx: Transaction, coins: Sequence[Coin], chain: ChainState) -> bool:
    """BIP 68: every input is as old as its sequence demands, in the next block.

    Args:
        coins: what the inputs spend, in their order; an unconfirmed one stands at tip + 1.
    """
    if tx.version < 2:
        return True
    next_height = chain.tip.height + 1
    median_time = chain.median_time(chain.tip)
    for item, coin in zip(tx.inputs, coins, strict=True):
        if item.sequence & _DISABLED:
            continue
        wanted = item.sequence & _MASK
        if item.sequence & _BY_TIME:
            before = chain.active[max(min(coin.height, next_height) - 1, 0)]
            if chain.median_time(before) + (wanted << _TIME_SHIFT) > median_time:
                return False
        elif coin.height + wanted > next_height:
            return False
    return True
