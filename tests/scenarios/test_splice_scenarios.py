"""A splice takes the funding away under a force close that was decided before it."""

from __future__ import annotations

import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY, Direction
from contractcourt.effects import PublishCommitment
from contractcourt.units import Txid
from tests.model.actions import ACTIONS
from tests.model.world import World
from tests.scenarios.memory import MemoryCourt
from workers.simulation.channel import SimulatedChannel

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


_UPDATED_IN_A_SPLICE = "splice told, splice signed, propose, revoke, splice, force close, accept"


@pytest.mark.parametrize("channel_type", [STATIC_REMOTEKEY, ANCHORS_ZERO_FEE_HTLC])
@pytest.mark.parametrize(
    "order",
    [
        f"{_UPDATED_IN_A_SPLICE}, mine, reorg 1",
        f"{_UPDATED_IN_A_SPLICE}, mine, reorg 1, splice, mine, reorg 1",
        "splice told, splice, force close, mine, reorg 1, splice, splice signed, mine, reorg 1",
    ],
)
def test_p3_a_reorg_of_the_splice_publishes_no_second_commitment(
    channel_type: str, order: str
) -> None:
    world = World.begin(channel_type)
    for name in order.split(", "):
        world = world.after(name, ACTIONS[name])
    published: dict[OutPoint, set[Txid]] = {}
    for effect in world.court.effects:
        if isinstance(effect, PublishCommitment):
            published.setdefault(effect.funding_outpoint, set()).add(effect.commitment.txid)
    assert [len(txids) for txids in published.values()] in ([1], [1, 1])
    case = world.court.case
    assert case.force_close is not None
    assert case.channel.funding_outpoint in published
    assert published[case.channel.funding_outpoint] == {case.force_close.txid}
    world.court.mine(7)
    assert world.court.close_kind == "local"


def test_p3_what_was_decided_stays_known_however_the_channel_goes_on() -> None:
    """Its HTLCs can be claimed, its anchor be spent, and no other takes its place."""
    court = MemoryCourt(restarts=True)
    sim = SimulatedChannel("updated after a force close", ANCHORS_ZERO_FEE_HTLC)
    court.begin(sim)
    offered = sim.htlc(1, Direction.OFFERED, 40_000_000, court.height + 40)
    court.tell(*sim.whole_move(0, offered))
    court.refuse_publishing(True)
    decided = court.force_close()
    court.tell(*sim.whole_move(1), *sim.whole_move(2))
    court.refuse_publishing(False)
    court.mine(8)
    assert court.close_kind == "local"
    assert court.case.funding_spend is not None
    assert court.case.funding_spend.txid == decided
    assert "offered_htlc" in court.contract_stages
