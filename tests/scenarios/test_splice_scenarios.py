"""A splice takes the funding away: under a force close, or before the node told all of it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.channel import STATIC_REMOTEKEY, Direction
from contractcourt.effects import Effect, PublishCommitment
from contractcourt.errors import OutOfOrder
from contractcourt.events import (
    ChannelUpdate,
    Event,
    FundingReplaced,
    HeightReached,
    SpendUnconfirmed,
)
from contractcourt.policy import Policy
from contractcourt.units import BlockHash, BlockHeight, Satoshi, Txid
from tests.model.actions import ACTIONS
from tests.model.world import World, after_splice
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.test_bolt5_closes import BOTH_TYPES, LARGE_MSAT, begun
from tests.spent import spent
from workers.simulation.channel import SimulatedChannel

_ORDERS = {
    "our new commitment is known": "splice told, splice signed, splice, force close",
    "it is told after the splice": "splice told, splice, force close, mine, splice signed",
    "the splice is told late": "splice, force close, mine, splice told, splice signed",
    "asked for before it is told": "splice told, splice, mine, force close, splice signed",
    "the first was refused": "splice told, splice signed, refused, force close, splice, mine",
}


@BOTH_TYPES
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


def test_a_force_close_without_a_commitment_is_decided_when_a_reorg_brings_one() -> None:
    world = World.begin(STATIC_REMOTEKEY)
    for name in ("splice told", "splice", "mine", "force close"):
        world = world.after(name, ACTIONS[name])
    assert "no_local_commitment" in world.court.alarms()
    assert world.court.case.asked is not None
    world = world.after("reorg 7", ACTIONS["reorg 7"])
    world.court.mine(6)
    assert world.court.close_kind == "local"
    assert world.court.case.asked is None


_UPDATED_IN_A_SPLICE = "splice told, splice signed, propose, revoke, splice, force close, accept"


@BOTH_TYPES
@pytest.mark.parametrize(
    "order",
    [
        f"{_UPDATED_IN_A_SPLICE}, mine, reorg 1",
        f"{_UPDATED_IN_A_SPLICE}, mine, reorg 1, splice, mine, reorg 1",
        "splice told, splice, force close, mine, reorg 1, splice, splice signed, mine, reorg 1",
    ],
)
def test_p3_a_reorg_of_the_splice_brings_back_the_newest_on_the_old_funding(
    channel_type: str, order: str
) -> None:
    world = World.begin(channel_type)
    for name in order.split(", "):
        world = world.after(name, ACTIONS[name])
    published: dict[OutPoint, dict[int, Txid]] = {}
    for effect in world.court.effects:
        if isinstance(effect, PublishCommitment):
            ours = published.setdefault(effect.funding_outpoint, {})
            assert effect.commitment.number >= max(ours, default=0)
            ours[effect.commitment.number] = effect.commitment.txid
    case = world.court.case
    assert case.force_close is not None
    assert case.local_commitment is not None
    on_this_one = published[case.channel.funding_outpoint]
    assert max(on_this_one) == case.local_commitment.number
    assert on_this_one[case.local_commitment.number] == case.force_close.txid
    world.court.mine(7)
    assert world.court.close_kind == "local"


def _updated_after_a_force_close(
    channel_type: str, *, in_one_message: bool
) -> tuple[MemoryCourt, SimulatedChannel]:
    """Commitment 1 was decided and refused; the node goes on to 3, which pays the peer."""
    court = MemoryCourt(restarts=True)
    sim = SimulatedChannel("updated after a force close", channel_type)
    court.begin(sim)
    offered = sim.htlc(1, Direction.OFFERED, 40_000_000, court.height + 40)
    court.tell(*sim.whole_move(0, offered))
    court.refuse_publishing(True)
    court.force_close()
    moves = [sim.whole_move(50_000_000), sim.whole_move(50_000_000)]
    if in_one_message:
        court.tell(*moves[0], *moves[1])
    else:
        for move in moves:
            court.tell(*move)
    court.refuse_publishing(False)
    return court, sim


@BOTH_TYPES
def test_f6_a_newer_one_that_is_told_after_the_close_is_no_alarm(channel_type: str) -> None:
    """The peer's commitment was mined instead: nobody can send, or punish, what was decided."""
    court, sim = MemoryCourt(), SimulatedChannel("told after the close", channel_type)
    court.begin(sim)
    court.refuse_publishing(True)
    court.force_close()
    court.broadcast(sim.their_commitment_tx())
    court.mine(6)
    assert court.closed_in_database
    decided = court.case.force_close
    court.tell(*sim.whole_move(50_000_000))
    assert court.case.force_close == decided
    assert court.case.local_commitment == sim.local_commitment()
    assert "update_after_force_close" not in court.alarms()


@BOTH_TYPES
@pytest.mark.parametrize("in_one_message", [True, False])
def test_f6_what_was_decided_is_sent_no_more_once_the_node_told_a_newer(
    channel_type: str, in_one_message: bool
) -> None:
    """The peer holds the secret of what was decided, and would take all of it."""
    court, sim = _updated_after_a_force_close(channel_type, in_one_message=in_one_message)
    assert "update_after_force_close" in court.alarms()
    court.mine(8)
    assert court.close_kind == "local"
    assert court.case.funding_spend is not None
    assert court.case.funding_spend.txid == sim.our_commitment_tx(3).txid()


def test_u4_what_has_an_output_on_a_commitment_that_was_sent_is_not_failed_as_dust() -> None:
    """Fees rose, and on the newest it is dust; what was sent before is mined all the same."""
    court = MemoryCourt(restarts=True)
    sim = SimulatedChannel("dust on the newest", STATIC_REMOTEKEY)
    court.begin(sim)
    offered = sim.htlc(1, Direction.OFFERED, 2_000_000, court.height + 40)
    court.tell(*sim.whole_move(0, offered))
    sent = sim.our_commitment_tx()
    assert court.force_close() == sent.txid()
    sim.feerate_per_kw = 5_000
    court.tell(*sim.whole_move(0, offered))
    assert court.told("htlc.failed") == []
    court.mine(7)
    assert court.case.funding_spend is not None
    assert court.case.funding_spend.txid == sent.txid()
    assert "offered_htlc" in court.contract_stages
    assert court.told("htlc.failed") == []


@BOTH_TYPES
@pytest.mark.parametrize("in_one_message", [True, False])
def test_what_was_decided_before_a_newer_stays_known(
    channel_type: str, in_one_message: bool
) -> None:
    """It was sent once, so it may confirm, and its HTLCs can be claimed then."""
    court, sim = _updated_after_a_force_close(channel_type, in_one_message=in_one_message)
    court.reorg(0, [sim.our_commitment_tx(1)])
    court.mine(50)
    assert court.close_kind == "local"
    assert court.contract_stages["offered_htlc"] == "resolved"
    assert "htlc_unsigned" not in court.alarms()


class _SignerAway(MemoryCourt):
    """Nothing of what is to be published is signed."""

    away = True

    def _carry_out_one(self, effect: Effect) -> list[Event]:
        if self.away and isinstance(effect, PublishCommitment):
            return []
        return super()._carry_out_one(effect)


@pytest.mark.parametrize("signed", [1, 60])
def test_a_case_does_not_grow_while_the_signer_is_away_and_the_node_goes_on(signed: int) -> None:
    """The one that it signed before, or signs when it is back, stays known with its HTLCs."""
    court = _SignerAway()
    sim = SimulatedChannel("signer away", STATIC_REMOTEKEY)
    court.begin(sim)
    offered = sim.htlc(1, Direction.OFFERED, 40_000_000, court.height + 40)
    court.tell(*sim.whole_move(0, offered))
    court.force_close()
    for number in range(2, 64):
        court.away = number != signed
        court.tell(*sim.whole_move(1_000, offered))
    assert len(court.case.decided_before) <= 21
    court.chain.mempool.clear()
    court.reorg(0, [sim.our_commitment_tx(signed)])
    court.mine(50)
    assert court.close_kind == "local"
    assert court.contract_stages["offered_htlc"] == "resolved"
    assert "htlc_unsigned" not in court.alarms()


def _moved(name: str, channel_type: str) -> tuple[MemoryCourt, SimulatedChannel]:
    """A channel whose peer has revoked commitment 0."""
    court, sim = begun(name, channel_type)
    court.tell(*sim.whole_move(50_000_000))
    return court, sim


def _new_funding(splice: Transaction) -> OutPoint:
    return OutPoint.of(splice.txid(), 0)


@BOTH_TYPES
@pytest.mark.parametrize(("kind", "number"), [("remote", None), ("breach", 0)])
def test_l22_a_splice_is_taken_in_when_its_outpoint_is_told_after_it(
    channel_type: str, kind: str, number: int | None
) -> None:
    court, sim = _moved("outpoint told late", channel_type)
    splice = sim.splice_tx()
    court.tell_splice_txid(splice)
    court.reorg(0, [splice])
    assert "splice_without_outpoint" in court.alarms()
    court.tell_splice(splice)
    assert court.case.channel.funding_outpoint == _new_funding(splice)
    assert court.case.waiting_spends == ()
    court.reorg(0, [after_splice(sim, splice).their_commitment_tx(number)])
    court.mine(10)
    assert court.close_kind == kind
    assert ("breach" in court.alarms()) == (kind == "breach")


@BOTH_TYPES
def test_l22_a_breach_before_the_outpoint_is_told_is_found(channel_type: str) -> None:
    court, sim = _moved("breach before the outpoint", channel_type)
    splice = sim.splice_tx()
    court.tell_splice_txid(splice)
    court.reorg(0, [splice])
    court.reorg(0, [after_splice(sim, splice).their_commitment_tx(0)])
    court.tell_splice(splice)
    court.mine(10)
    assert court.close_kind == "breach"


def test_a_splice_told_late_and_by_parts_is_taken_in() -> None:
    court, sim = _moved("told late by parts", STATIC_REMOTEKEY)
    splice = sim.splice_tx()
    court.reorg(0, [splice])
    court.tell_splice_txid(splice)
    assert "splice_without_outpoint" in court.alarms()
    assert court.case.funding_spend is None
    court.tell_splice(splice)
    assert court.case.channel.funding_outpoint == _new_funding(splice)


def test_l21_a_splice_that_waits_for_its_outpoint_is_forgotten_with_its_block() -> None:
    court, sim = _moved("waiting splice taken back", STATIC_REMOTEKEY)
    splice = sim.splice_tx()
    court.tell_splice_txid(splice)
    court.reorg(0, [splice])
    court.reorg(1, [sim.their_commitment_tx()])
    assert court.case.waiting_spends == ()
    court.tell_splice(splice)
    assert court.case.channel.funding_outpoint == sim.channel.funding_outpoint
    court.mine(10)
    assert court.close_kind == "remote"


@BOTH_TYPES
@pytest.mark.parametrize("mined", [0, 1, 2])
def test_any_candidate_of_a_replaced_splice_may_be_mined(channel_type: str, mined: int) -> None:
    """Each was told with its outpoint and our commitment on it, and only one comes to be."""
    court, sim = _moved("replaced by fee", channel_type)
    splices = [sim.splice_tx(fee) for fee in (500, 900, 1300)]
    for splice in splices:
        court.tell_splice(splice)
    for splice in splices:
        ours = after_splice(sim, splice).local_commitment(1)
        court.tell(ChannelUpdate(local_commitment=ours))
    court.reorg(0, [splices[mined]])
    assert "splice_without_outpoint" not in court.alarms()
    assert court.case.channel.funding_outpoint == _new_funding(splices[mined])
    # A reorg puts another one in its place.
    other = splices[(mined + 1) % 3]
    court.reorg(1, [other])
    assert court.case.channel.funding_outpoint == _new_funding(other)
    published = court.force_close()
    court.mine(10)
    assert court.close_kind == "local"
    assert published == after_splice(sim, other).local_commitment(1).txid


def test_l22_a_spend_of_a_new_funding_before_its_splice_is_heard_is_kept() -> None:
    """Two splices in a row, both mined before any was told, and the second is told first."""
    court, sim = _moved("two splices told late", STATIC_REMOTEKEY)
    first = sim.splice_tx()
    between = after_splice(sim, first)
    second = between.splice_tx()
    last = after_splice(between, second)
    for tx in (first, second, last.their_commitment_tx(0)):
        court.reorg(0, [tx])
    court.tell_splice(second)
    assert "unknown_spend" in court.alarms()
    assert [spend.outpoint for spend in court.case.waiting_spends] == [_new_funding(second)]
    court.tell_splice(first)
    court.mine(10)
    assert court.case.channel.funding_outpoint == _new_funding(second)
    assert court.close_kind == "breach"


@BOTH_TYPES
@pytest.mark.parametrize("order", [*itertools.permutations(range(3))], ids=str)
def test_l21_a_block_of_splices_and_a_close_is_taken_back_in_any_order(
    channel_type: str, order: tuple[int, ...]
) -> None:
    court, sim = _moved("all in one block", channel_type)
    first = sim.splice_tx()
    between = after_splice(sim, first)
    second = between.splice_tx()
    court.tell_splice(first)
    court.tell_splice(second)
    theirs = after_splice(between, second).their_commitment_tx(0)
    height, block_hash = court.height + 1, BlockHash(b"\x07" * 32)
    block = [(tx.inputs[0].outpoint, tx) for tx in (first, second, theirs)]
    for outpoint, tx in block:
        court.hear(spent(outpoint, tx, height, block_hash=block_hash))
    assert court.case.funding_spend is not None
    for outpoint, tx in (block[number] for number in order):
        gone = SpendUnconfirmed(outpoint, tx.txid(), block_hash, BlockHeight(height - 1))
        court.hear(gone)
    assert court.case.funding_spend is None
    assert court.case.channel.funding_outpoint == sim.channel.funding_outpoint
    for tx in (first, second, theirs):
        court.reorg(0, [tx])
    court.mine(10)
    assert court.case.channel.funding_outpoint == _new_funding(second)
    assert court.close_kind == "breach"


def test_a_commitment_on_an_earlier_candidate_is_checked_by_its_own_capacity() -> None:
    court, sim = _moved("capacities", STATIC_REMOTEKEY)
    first, second = sim.splice_tx(500), sim.splice_tx(900)
    court.tell_splice(first)
    court.tell_splice(second)
    assert [new.capacity_sat for new in court.case.splice.told] == [
        Satoshi(tx.outputs[0].value) for tx in (first, second)
    ]
    ours = after_splice(sim, first).local_commitment(1)
    court.tell(ChannelUpdate(local_commitment=ours))
    assert ours in court.case.held


def replaced_funding(
    court: MemoryCourt, sim: SimulatedChannel, *, capacity_told: bool = True
) -> SimulatedChannel:
    """The channel on a funding that replaced the first one by fee: it spends nothing of ours."""
    output = TxOut(sim.capacity_sat, bytes(sim.funding_script_pubkey))
    replacement = Transaction(2, (TxIn(OutPoint.of(Txid(b"\x07" * 32), 0)),), (output,), 0)
    there = replace(sim, funding_outpoint=_new_funding(replacement))
    if capacity_told:
        court.tell_splice(replacement)
        court.tell(ChannelUpdate(local_commitment=there.local_commitment()))
    else:
        court.hear(FundingReplaced(_new_funding(replacement), ()))
    court.broadcast(replacement)
    court.mine(6)
    return there


@BOTH_TYPES
@pytest.mark.parametrize("capacity_told", [True, False])
def test_a_breach_on_a_funding_that_replaced_the_first_by_fee_is_punished(
    channel_type: str, capacity_told: bool
) -> None:
    """Without its capacity no commitment of ours is taken; the peer's are punished all the same."""
    court, sim = begun("replaced funding", channel_type)
    there = replaced_funding(court, sim, capacity_told=capacity_told)
    there.move(100_000_000)
    court.tell(there.propose(), there.revoke())
    court.broadcast(there.their_commitment_tx(0))
    court.mine()
    assert court.alarms() == {"unknown_spend"}
    court.mine(2)
    assert court.case.channel.funding_outpoint == there.funding_outpoint
    assert court.close_kind == "breach"
    assert "revoked_to_local" in court.contract_stages
    paid = sum(output.value for output in there.their_commitment_tx(0).outputs)
    capacity_sat = sim.capacity_sat if capacity_told else paid
    assert court.case.channel.capacity_sat == capacity_sat


def test_a_splice_that_takes_the_place_of_a_commitment_is_no_close() -> None:
    """What is mined now is told before what a reorg dropped for it."""
    court, sim = begun("splice instead", STATIC_REMOTEKEY)
    splice, theirs = sim.splice_tx(), sim.their_commitment_tx()
    court.tell_splice(splice)
    old, gone = sim.funding_outpoint, BlockHash(b"\x0a" * 32)
    court.hear(spent(old, theirs, court.height + 1, block_hash=gone))
    court.hear(HeightReached(BlockHeight(court.height + 6)))
    assert court.case.closed
    court.hear(spent(old, splice, court.height + 1, block_hash=BlockHash(b"\x0b" * 32)))
    court.hear(SpendUnconfirmed(old, theirs.txid(), gone, BlockHeight(court.height + 6)))
    assert court.case.funding_spend is None
    assert court.state == "DEFAULT"
    assert court.case.channel.funding_outpoint == _new_funding(splice)


@BOTH_TYPES
def test_what_was_decided_alarms_while_no_commitment_on_the_new_funding_is_told(
    channel_type: str,
) -> None:
    """Nothing can be published any more, and what was published can never confirm."""
    court = MemoryCourt(restarts=True)
    sim = SimulatedChannel("overtaken by a splice", channel_type)
    court.begin(sim)
    splice = sim.splice_tx()
    court.tell_splice(splice)
    court.force_close()
    assert "no_local_commitment" not in court.alarms()
    court.chain.mempool.clear()
    court.broadcast(splice)
    court.mine()
    assert "no_local_commitment" in court.alarms()
    court.tell(ChannelUpdate(local_commitment=after_splice(sim, splice).local_commitment()))
    court.mine(4)
    assert court.close_kind == "local"


@BOTH_TYPES
def test_the_capacity_of_a_splice_that_has_no_outpoint_yet_is_no_other_ones(
    channel_type: str,
) -> None:
    """A replacement by fee is told by its txid and capacity first; ours on the first is valid."""
    court, sim = begun("capacity of a replacement", channel_type)
    first, second = sim.splice_tx(500), sim.splice_tx(900)
    court.tell_splice(first)
    court.hear(FundingReplaced(None, (second.txid(),), Satoshi(second.outputs[0].value)))
    ours = after_splice(sim, first).local_commitment()
    court.tell(ChannelUpdate(local_commitment=ours))
    assert ours in court.case.held
    court.hear(FundingReplaced(_new_funding(second), ()))
    there = ChannelUpdate(local_commitment=after_splice(sim, second).local_commitment())
    with pytest.raises(OutOfOrder, match="send capacity_sat"):
        court.tell(there)
    court.tell_splice(second)
    court.tell(there)


@BOTH_TYPES
@pytest.mark.parametrize("again", [False, True])
def test_what_was_told_of_a_splice_stays_told(channel_type: str, again: bool) -> None:
    """Its capacity before its outpoint, and both once more when ours on it is told."""
    court, sim = begun("told by parts", channel_type)
    splice = sim.splice_tx()
    candidates, capacity_sat = (splice.txid(),), Satoshi(splice.outputs[0].value)
    court.hear(FundingReplaced(None, candidates, capacity_sat))
    court.hear(FundingReplaced(None, candidates))
    court.hear(FundingReplaced(_new_funding(splice), candidates))
    ours = after_splice(sim, splice).local_commitment()
    court.tell(ChannelUpdate(local_commitment=ours))
    if again:
        court.hear(FundingReplaced(_new_funding(splice), candidates))
        court.hear(FundingReplaced(None, candidates, capacity_sat))
    [told] = court.case.splice.told
    assert (told.capacity_sat, told.local_commitment) == (capacity_sat, ours)


def test_an_outpoint_that_the_splice_does_not_have_is_alarmed_and_told_anew() -> None:
    court, sim = begun("beyond its outputs", STATIC_REMOTEKEY)
    splice = sim.splice_tx()
    court.hear(FundingReplaced(OutPoint.of(splice.txid(), len(splice.outputs)), ()))
    court.broadcast(splice)
    court.mine()
    assert court.alarms() == {"splice_without_outpoint"}
    assert court.case.channel.funding_outpoint == sim.funding_outpoint
    court.tell_splice(splice)
    assert court.case.channel.funding_outpoint == _new_funding(splice)


@BOTH_TYPES
def test_u9_an_htlc_of_ours_on_the_old_funding_alarms_where_none_is_told_on_the_new_one(
    channel_type: str,
) -> None:
    """The peer's has lost it already; what we agreed on last holds it still."""
    court, sim = begun("told on the old one alone", channel_type)
    held = sim.htlc(1, Direction.RECEIVED, LARGE_MSAT, court.height + 40)
    court.tell(*sim.whole_move(0, held))
    sim.move(0)
    court.tell(sim.propose(), sim.revoke())
    court.tell_preimage(sim.preimage(1))
    splice = sim.splice_tx()
    court.tell_splice(splice)
    court.broadcast(splice)
    court.mine(40 - Policy().incoming_broadcast_delta - 1)
    assert court.alarms() == set()
    court.mine()
    assert court.alarms() == {"no_local_commitment"}


def test_s1_a_splice_that_is_told_by_its_new_funding_alone_is_no_close() -> None:
    court, sim = MemoryCourt(), SimulatedChannel("by its funding alone", STATIC_REMOTEKEY)
    court.begin(sim)
    splice = sim.splice_tx()
    new = _new_funding(splice)
    court.hear(FundingReplaced(new, (), Satoshi(splice.outputs[0].value)))
    court.broadcast(splice)
    court.mine()
    assert court.case.channel.funding_outpoint == new
    assert [told["funding_outpoint"] for told in court.told("channel.funding_replaced")] == [
        str(new)
    ]
    assert court.told("channel.closing") == []
    assert court.alarms() == set()
