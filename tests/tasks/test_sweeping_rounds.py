"""Rounds of the sweeper: what is taken apart or left out is on its way again in the same block."""

from __future__ import annotations

from chain.devnet.process import DevnetProcess
from contractcourt.channel import Side
from tasks.resources import Resources
from tests.tasks.sweeps import STARTED, Sweeps

_DEADLINE = STARTED + 10
_LAST = _DEADLINE - 1


def test_l7_a_contest_found_in_the_last_block_is_regrouped_in_it(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    world = Sweeps(sweeper, devnet)
    closed = world.closed("contest", Side.REMOTE, [60_000, 60_000])
    left, taken = (closed.want(n, deadline=_DEADLINE, budget_sat=1_500) for n in (1, 2))
    world.round(STARTED, price=1_000)
    together = world.in_mempool(left)
    assert together is not None
    assert together == world.in_mempool(taken)
    # It pays more for itself than both are worth to us, and stays.
    closed.claimed_by_the_peer(2)
    assert world.in_mempool(left) is None
    world.round(_LAST, price=1_000)
    alone = world.in_mempool(left)
    assert alone is not None
    assert len(alone.inputs) == 1


def test_l8_whoever_is_left_out_of_a_better_offer_gets_a_coin_in_the_same_block(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    """Two coins are enough for two: the first is free when the second pays for the strongest."""
    world = Sweeps(sweeper, devnet, 5_000, 60_000)
    closed = world.closed("left out", Side.LOCAL, [60_000, 50_000])
    rich = closed.want(1, deadline=_DEADLINE, budget_sat=30_000)
    poor = closed.want(2, deadline=_DEADLINE, budget_sat=4_000)
    world.round(STARTED, price=1_000)
    together = world.in_mempool(rich)
    assert together is not None
    assert together == world.in_mempool(poor)
    world.round(_LAST, price=1_000)
    assert world.feerate(rich) > 20_000
    assert world.feerate(poor) > 3_500


def test_l7_what_is_taken_back_is_paid_for_with_the_coins_it_had(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    world = Sweeps(sweeper, devnet, 60_000)
    closed = world.closed("taken back", Side.LOCAL, [60_000, 60_000])
    left, taken = (closed.want(n, deadline=_DEADLINE, budget_sat=30_000) for n in (1, 2))
    world.round(STARTED, price=1_000)
    assert world.in_mempool(left) == world.in_mempool(taken) is not None
    closed.mined_by_the_peer(2)
    world.round(STARTED + 1, price=1_000)
    alone = world.in_mempool(left)
    assert alone is not None
    assert {spent.outpoint for spent in alone.inputs} == {left, *world.coins}
