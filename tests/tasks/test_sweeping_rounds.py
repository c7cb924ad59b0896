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
