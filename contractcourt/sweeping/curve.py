"""What is offered for an input at a height: from the market's price up to the whole budget.

Without a deadline nothing is lost by waiting: the offer follows the estimate for a day ahead,
and without an estimate, or with one that is beyond the budget, nothing is built (users_ask L11).
Where patience has come to its end the mempool's floor stands for an estimate that is missing, and
the whole budget for one that is beyond it: no case is ever stuck (L1). With a deadline, the
offer rises in a straight line from the mempool's floor, and reaches all that the budget allows one
block before the deadline; the estimate for the blocks that are left lifts it earlier. An offer
never falls.
"""

from __future__ import annotations

from contractcourt.effects import BumpCommitment
from contractcourt.sweeping.inputs import SweepInput, limit
from contractcourt.sweeping.market import CALM, Market
from contractcourt.units import BlockHeight, FeeratePerKw

#: What is taken up with its deadline past, or at hand, is raced for over so many blocks.
RACE = 3


def offer(item: SweepInput, market: Market, height: BlockHeight) -> FeeratePerKw | None:
    """The feerate to offer while the tip is at `height`; None when waiting is the better offer.

    That is without an estimate when there is no hurry, and when less than the mempool's floor is
    all that the input can pay.
    """
    most = limit(item)
    if most < market.floor:
        return None
    if item.want.deadline is None:
        return _calm(item, market, height, most)
    rising = _rising(item, market, height, most)
    return FeeratePerKw(min(most, max(rising, item.feerate_per_kw)))


def deadline(item: SweepInput) -> BlockHeight | None:
    """The height by which it should be mined, with the time a late start still needs."""
    if item.want.deadline is None:
        return None
    return BlockHeight(max(item.want.deadline, item.started_height + RACE))


def _calm(
    item: SweepInput, market: Market, height: BlockHeight, most: FeeratePerKw
) -> FeeratePerKw | None:
    estimate, last = market.estimate(CALM), item.patience_ends
    impatient = last is not None and height >= last
    if estimate is None and (impatient or isinstance(item.want, BumpCommitment)):
        estimate = market.floor
    if estimate is None or (estimate > most and not impatient):
        return None
    # More may have been offered than it can pay now: for a commitment by this anchor, or before
    # the node's highest feerate was lowered.
    return FeeratePerKw(min(most, max(estimate, item.feerate_per_kw)))


def _rising(
    item: SweepInput, market: Market, height: BlockHeight, most: FeeratePerKw
) -> FeeratePerKw:
    last = (deadline(item) or height) - 1
    gone = height - item.started_height
    straight = market.floor + (most - market.floor) * gone // (last - item.started_height)
    estimate = market.estimate(last + 1 - height) or market.floor
    return FeeratePerKw(max(straight, estimate, market.floor))
