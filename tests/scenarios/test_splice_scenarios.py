"""A splice takes the funding away under a force close that was decided before it."""

from __future__ import annotations

import pytest

from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY
from tests.model.actions import ACTIONS
from tests.model.world import World

_ORDERS = {
    "our new commitment is known": "splice told, splice signed, splice, force close",
    "it is told after the splice": "splice told, splice, force close, mine, splice signed",
    "the splice is told late": "splice, force close, mine, splice told, splice signed",
    "the first was refused": "splice told, splice signed, refused, force close, splice, mine",
}


@pytest.mark.parametrize("channel_type", [STATIC_REMOTEKEY, ANCHORS_ZERO_FEE_HTLC])
@pytest.mark.parametrize("order", _ORDERS.values(), ids=_ORDERS)
def test_a_force_close_follows_a_splice(channel_type: str, order: str) -> None:
    world = World.begin(channel_type)
    for name in (*order.split(", "), "accepted", "mine 6", "mine 6"):
        world = world.after(name, ACTIONS[name])
    case = world.court.case
    spends = {item.outpoint for tx in world.could.splice for item in tx.inputs}
    assert world.court.close_kind == "local"
    assert case.channel.funding_outpoint not in spends
    assert case.force_close is not None
    assert case.funding_spend is not None
    assert case.force_close.txid == case.funding_spend.txid


def test_a_reorg_of_the_splice_brings_the_decision_back_to_the_old_funding() -> None:
    world = World.begin(STATIC_REMOTEKEY)
    for name in ("splice told", "splice signed", "splice", "force close", "mine", "reorg 7"):
        world = world.after(name, ACTIONS[name])
    court = world.court
    court.mine(6)
    assert court.close_kind == "local"
    assert court.case.retired_fundings == ()
