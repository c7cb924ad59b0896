"""A splice takes the funding away under a force close that was decided before it."""

from __future__ import annotations

import copy
from contextlib import suppress

import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY, Direction
from contractcourt.effects import PublishCommitment
from contractcourt.errors import LawError
from contractcourt.events import ChannelUpdate
from contractcourt.units import Txid
from tests.model.actions import ACTIONS
from tests.model.world import World
from tests.scenarios.memory import MemoryCourt
from workers.simulation.channel import Balances, SimulatedChannel

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


class OnBothFundings:
    """Until a splice is locked each state is signed for the old funding and for the new one.

    Each state pays the peer, so that every one before it is worth more to us, and is revoked.
    """

    def __init__(self, channel_type: str) -> None:
        self.court = MemoryCourt(restarts=True)
        self.sim = SimulatedChannel("on both fundings", channel_type)
        self.court.begin(self.sim)
        self.splice = self.sim.splice_tx()
        self.court.tell_splice(self.splice)

    def on_the_new_one(self) -> SimulatedChannel:
        fee_msat = (self.sim.capacity_sat - self.splice.outputs[0].value) * 1000
        there = copy.copy(self.sim)
        there.funding_outpoint = OutPoint.of(self.splice.txid(), 0)
        there.capacity_sat = self.splice.outputs[0].value
        there.history = [
            Balances(held.to_local_msat - fee_msat, held.to_remote_msat, held.htlcs)
            for held in self.sim.history
        ]
        return there

    def ours_on_the_new_one(self) -> ChannelUpdate:
        return ChannelUpdate(local_commitment=self.on_the_new_one().local_commitment())

    def close(self) -> set[int]:
        """Force close; the numbers of what is published."""
        self.court.force_close()
        effects = self.court.effects
        return {one.commitment.number for one in effects if isinstance(one, PublishCommitment)}


@pytest.mark.parametrize("channel_type", [STATIC_REMOTEKEY, ANCHORS_ZERO_FEE_HTLC])
def test_f6_no_revoked_commitment_is_published_when_a_reorg_takes_the_splice(
    channel_type: str,
) -> None:
    both = OnBothFundings(channel_type)
    court, sim = both.court, both.sim
    court.tell(both.ours_on_the_new_one())
    court.broadcast(both.splice)
    court.mine()
    for _ in range(3):
        sim.move(50_000_000)
        there = both.on_the_new_one()
        court.tell(there.propose(), there.revoke())
        court.tell(both.ours_on_the_new_one())
        with suppress(LawError):
            court.tell(sim.accept())
    court.reorg(1)
    assert both.close() <= {sim.number}


@pytest.mark.parametrize("channel_type", [STATIC_REMOTEKEY, ANCHORS_ZERO_FEE_HTLC])
@pytest.mark.parametrize("told", [True, False])
def test_f6_what_lies_behind_on_the_new_funding_is_not_published(
    channel_type: str, told: bool
) -> None:
    """The first commitment on it is told twice, or the later ones are not told."""
    both = OnBothFundings(channel_type)
    court = both.court
    first = both.ours_on_the_new_one()
    court.tell(first)
    for _ in range(3):
        court.tell(*both.sim.whole_move(100_000_000))
        if told:
            court.tell(both.ours_on_the_new_one())
    if told:
        with suppress(LawError):
            court.tell(first)
    court.broadcast(both.splice)
    court.mine()
    assert both.close() <= {both.sim.number}
    if not told:
        assert court.alarms() == {"no_local_commitment"}
        court.tell(both.ours_on_the_new_one())
        assert both.close() == {both.sim.number}
