"""What fees cost now: one look at the Bitcoin node for a whole round of sweeping."""

from __future__ import annotations

from contractcourt.sweeping.market import TARGETS, Market
from tasks.resources import Resources

#: Where nobody competes for blocks, and nodes never have an estimate, the floor is a fair price.
_WITHOUT_COMPETITION = "regtest"


def market(held: Resources) -> Market:
    """The floor, the step of a replacement, and the node's estimates. Raises ChainError."""
    fees = held.chain.mempool_fees()
    told = dict(zip(TARGETS, held.chain.feerates(TARGETS), strict=True))
    fallback = fees.floor if held.settings.network == _WITHOUT_COMPETITION else None
    estimates = {target: rate or fallback for target, rate in told.items()}
    known = {target: rate for target, rate in estimates.items() if rate is not None}
    return Market(fees.floor, fees.incremental, known)
