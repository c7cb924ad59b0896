"""Until a splice is locked commitments are signed for the old funding and for the new one."""

from __future__ import annotations

from itertools import permutations

import pytest
from msgspec.structs import replace

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.channel import STATIC_REMOTEKEY, Direction
from contractcourt.effects import Effect, PublishCommitment
from contractcourt.errors import CommitmentMismatch, CommitmentNumberRegression
from contractcourt.events import (
    ChannelUpdate,
    Event,
    PublishOutcome,
    SpendUnconfirmed,
    TransactionPublished,
)
from contractcourt.policy import Policy
from contractcourt.units import BlockHash, BlockHeight
from tests.model.world import after_splice
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.test_bolt5_closes import BOTH_TYPES, LARGE_MSAT, begun
from tests.scenarios.test_splice_scenarios import replaced_funding
from tests.spent import spent
from workers.simulation.channel import SimulatedChannel


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
        return after_splice(self.sim, self.splice)

    def ours_on_the_new_one(self) -> ChannelUpdate:
        return ChannelUpdate(local_commitment=self.on_the_new_one().local_commitment())

    def move_on_the_new_one(self) -> None:
        """One state more, told on the new funding alone."""
        self.sim.move(50_000_000)
        there = self.on_the_new_one()
        self.court.tell(there.propose(), there.revoke())
        self.court.tell(self.ours_on_the_new_one())

    def close(self) -> set[int]:
        """Force close; the numbers of what is published."""
        self.court.force_close()
        effects = self.court.effects
        return {one.commitment.number for one in effects if isinstance(one, PublishCommitment)}


@BOTH_TYPES
@pytest.mark.parametrize("told", [True, False])
def test_f6_no_revoked_commitment_is_published_when_a_reorg_takes_the_splice(
    channel_type: str, told: bool
) -> None:
    """Each state is told for the old funding too, as long as the splice is not locked, or not."""
    both = OnBothFundings(channel_type)
    court, sim = both.court, both.sim
    court.tell(both.ours_on_the_new_one())
    court.broadcast(both.splice)
    court.mine()
    for _ in range(3):
        both.move_on_the_new_one()
        if told:
            court.tell(sim.accept())
    court.reorg(1)
    assert both.close() == ({sim.number} if told else set())
    # Only the newest will do, and if need be the splice has to be mined again for it.
    court.mine()
    assert both.close() == {sim.number}
    assert court.alarms() == set()


@BOTH_TYPES
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
        with pytest.raises(CommitmentNumberRegression):
            court.tell(first)
    court.broadcast(both.splice)
    court.mine()
    assert both.close() == ({both.sim.number} if told else set())
    if not told:
        assert court.alarms() == {"no_local_commitment"}
        court.tell(both.ours_on_the_new_one())
        assert both.close() == {both.sim.number}


@BOTH_TYPES
@pytest.mark.parametrize("asked", [True, False])
def test_u9_ours_is_published_on_a_funding_that_replaced_the_first_by_fee(
    channel_type: str, asked: bool
) -> None:
    """No splice leads there: that our newest commitment spends it is all that tells of it."""
    court, sim = begun("on a replaced funding", channel_type)
    there = replaced_funding(court, sim)
    offered = there.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 20)
    court.tell(*there.whole_move(0, offered))
    if asked:
        court.force_close()
    court.mine(25)
    assert court.close_kind == "local"
    assert court.case.channel.funding_outpoint == there.funding_outpoint
    assert court.alarms() == set()
    court.mine(40)
    assert court.state == "FULLY_RESOLVED"
    assert [told["reason"] for told in court.told("htlc.failed")] == ["timed_out"]


def _used_before_it_is_mined(channel_type: str) -> tuple[MemoryCourt, list[Transaction]]:
    """Two splices in a row; the node tells each state on the last funding alone."""
    court, sim = begun("used before it is mined", channel_type)
    splices, there = [], sim
    for _ in range(2):
        splices.append(there.splice_tx())
        there = after_splice(there, splices[-1])
        court.tell_splice(splices[-1])
    court.tell(ChannelUpdate(local_commitment=there.local_commitment()))
    court.tell(*there.whole_move(50_000_000))
    court.force_close()
    court.mine()
    assert court.case.channel.funding_outpoint == there.funding_outpoint
    assert court.case.force_close is not None
    assert court.case.force_close.txid == there.our_commitment_tx().txid()
    return court, splices


@BOTH_TYPES
@pytest.mark.parametrize("order", [*permutations(range(3))], ids=str)
def test_s7_ours_is_published_on_a_splice_that_is_used_before_it_is_mined(
    channel_type: str, order: tuple[int, ...]
) -> None:
    """And the two splices and our commitment are told in any order, taken back, and told again."""
    court, splices = _used_before_it_is_mined(channel_type)
    assert court.case.force_close is not None
    last = court.case.channel.funding_outpoint
    ours = court.chain.mempool[court.case.force_close.txid]
    block = [*splices, ours]
    height, block_hash = BlockHeight(court.height + 1), BlockHash(b"\x07" * 32)
    for number in order:
        outpoint = block[number].inputs[0].outpoint
        court.hear(spent(outpoint, block[number], height, block_hash=block_hash))
    assert court.case.funding_spend is not None
    assert court.case.waiting_spends == ()
    assert [one.replaced_by for one in court.case.retired_fundings] == [
        splice.txid() for splice in splices
    ]
    for number in order:
        outpoint, txid = block[number].inputs[0].outpoint, block[number].txid()
        court.hear(SpendUnconfirmed(outpoint, txid, block_hash, BlockHeight(height - 1)))
    assert court.case.funding_spend is None
    court.reorg(0, block)
    court.mine(60)
    assert court.close_kind == "local"
    assert court.case.channel.funding_outpoint == last
    assert court.state == "FULLY_RESOLVED"
    assert "unknown_spend" not in court.alarms()


@BOTH_TYPES
def test_s3_what_is_told_on_both_fundings_is_published_on_the_old_one(channel_type: str) -> None:
    """The new one is told first each time, and may never be mined."""
    both = OnBothFundings(channel_type)
    court, sim = both.court, both.sim
    court.tell(both.ours_on_the_new_one())
    court.refuse_publishing(True)
    court.force_close()
    sim.move(50_000_000)
    court.tell(sim.propose(), sim.revoke())
    court.tell(both.ours_on_the_new_one())
    court.tell(sim.accept())
    court.refuse_publishing(False)
    court.mine(8)
    assert court.close_kind == "local"
    assert court.case.channel.funding_outpoint == sim.funding_outpoint


@BOTH_TYPES
@pytest.mark.parametrize("bigger", [True, False])
@pytest.mark.parametrize("mined", [True, False])
@pytest.mark.parametrize("of_the_new_one", [True, False])
def test_s3_the_peers_commitments_are_taken_with_the_balances_of_either_funding(
    channel_type: str, bigger: bool, mined: bool, of_the_new_one: bool
) -> None:
    """A splice in or out; it is locked some blocks after the court saw it mined, or before."""
    court, sim = begun("balances of either", channel_type)
    capacity_sat = sim.capacity_sat + (200_000 if bigger else -200_000)
    splice = sim.splice_tx(sim.capacity_sat - capacity_sat)
    there = after_splice(sim, splice)
    court.tell_splice(splice)
    court.tell(ChannelUpdate(local_commitment=there.local_commitment()))
    if mined:
        court.broadcast(splice)
        court.mine()
    told = there if of_the_new_one else sim
    told.move(50_000_000)
    court.tell(told.propose(), told.revoke())
    assert [theirs.number for theirs in court.case.remote_commitments] == [1]


@BOTH_TYPES
def test_l21_a_close_of_a_funding_that_is_gone_to_again_after_a_reorg_is_heard(
    channel_type: str,
) -> None:
    """The reorg of its splice had ended the watch of it."""
    both = OnBothFundings(channel_type)
    court = both.court
    court.tell(both.ours_on_the_new_one())
    court.broadcast(both.splice)
    court.mine()
    both.move_on_the_new_one()
    there = both.on_the_new_one()
    court.force_close()
    court.reorg(1)
    court.mine()
    assert court.case.channel.funding_outpoint == there.funding_outpoint
    court.reorg(0, [both.splice, there.our_commitment_tx()])
    court.mine(8)
    assert court.close_kind == "local"


@BOTH_TYPES
def test_s5_a_close_of_the_old_funding_stands_though_ours_goes_on_at_the_new_one(
    channel_type: str,
) -> None:
    """All that was told since is told there alone, and a force close is asked for besides."""
    both = OnBothFundings(channel_type)
    court, sim = both.court, both.sim
    both.move_on_the_new_one()
    court.reorg(0, [sim.their_commitment_tx()])
    court.force_close()
    court.mine(30)
    assert (court.close_kind, court.state) == ("remote", "FULLY_RESOLVED")
    assert court.case.channel.funding_outpoint == sim.funding_outpoint


@BOTH_TYPES
def test_u9_an_htlc_that_ours_on_the_new_funding_alone_holds_takes_it_on_chain(
    channel_type: str,
) -> None:
    """On the peer's it is no more, or is dust: only the splice brings its height to mind."""
    both = OnBothFundings(channel_type)
    court, sim = both.court, both.sim
    expiry = court.height + 40
    sim.move(0, sim.htlc(1, Direction.RECEIVED, LARGE_MSAT, expiry))
    there = both.on_the_new_one()
    court.tell(there.propose(), there.revoke(), there.accept())
    sim.move(0)
    there = both.on_the_new_one()
    court.tell(there.propose(), there.revoke())
    court.tell_preimage(sim.preimage(1))
    court.broadcast(both.splice)
    court.mine(expiry - Policy().incoming_broadcast_delta - court.height - 1)
    assert court.state == "DEFAULT"
    court.mine()
    assert court.state == "COMMITMENT_BROADCASTED"


class NeverMined(MemoryCourt):
    """The Bitcoin node knows nothing of the fundings in `lost`."""

    lost: tuple[OutPoint, ...] = ()

    def _publish(self, tx: Transaction) -> TransactionPublished:
        if tx.inputs[0].outpoint in self.lost:
            missing = PublishOutcome.MISSING_INPUTS
            return TransactionPublished(tx.txid(), missing, "bad-txns-inputs-missingorspent")
        return super()._publish(tx)


@BOTH_TYPES
def test_ours_is_published_on_a_replaced_funding_that_nothing_has_used_yet(
    channel_type: str,
) -> None:
    """Each of the two has our first commitment, and only the Bitcoin node knows which is there."""
    court = NeverMined(restarts=True)
    sim = SimulatedChannel("replaced before its first payment", channel_type)
    court.begin(sim)
    there = replaced_funding(court, sim)
    court.lost = (sim.channel.funding_outpoint,)
    court.force_close()
    court.mine(30)
    assert court.close_kind == "local"
    assert court.case.channel.funding_outpoint == there.funding_outpoint
    assert court.state == "FULLY_RESOLVED"
    assert court.alarms() == set()


@pytest.mark.parametrize("closed", [True, False])
def test_a_funding_that_the_bitcoin_node_does_not_know_is_said_with_the_next_block(
    closed: bool,
) -> None:
    """Another one that was not told replaced it; unless the block tells who spent it."""
    court = NeverMined(restarts=True)
    sim = SimulatedChannel("replaced by what was not told", STATIC_REMOTEKEY)
    court.begin(sim)
    court.lost = (sim.channel.funding_outpoint,)
    court.force_close()
    assert court.alarms() == set()
    court.reorg(0, [sim.their_commitment_tx()] if closed else [])
    assert court.alarms() == (set() if closed else {"no_local_commitment"})


@BOTH_TYPES
def test_what_can_be_published_on_the_present_funding_stays_there(channel_type: str) -> None:
    """Though the new one has our newest as well: whatever keeps ours from being mined."""
    both = OnBothFundings(channel_type)
    court = both.court
    court.tell(both.ours_on_the_new_one())
    court.refuse_publishing(True)
    court.force_close()
    for _ in range(200):
        court.reorg(0)
    assert court.case.channel.funding_outpoint == both.sim.funding_outpoint
    assert court.published_commitments == 1


def test_a_funding_with_an_older_commitment_of_ours_alone_is_not_gone_to() -> None:
    court = NeverMined(restarts=True)
    sim = SimulatedChannel("older there", STATIC_REMOTEKEY)
    court.begin(sim)
    replaced_funding(court, sim)
    court.tell(*sim.whole_move(50_000_000))
    court.lost = (sim.channel.funding_outpoint,)
    court.force_close()
    court.mine(10)
    assert court.case.channel.funding_outpoint == sim.funding_outpoint
    assert court.alarms() == {"no_local_commitment"}


@BOTH_TYPES
def test_s3_ours_returns_to_the_old_funding_where_the_new_one_never_comes(
    channel_type: str,
) -> None:
    """A block came between what the node told of the two; the splice is gone from the mempool."""
    court = NeverMined(restarts=True)
    sim = SimulatedChannel("a splice that never comes", channel_type)
    court.begin(sim)
    splice = sim.splice_tx()
    court.tell_splice(splice)
    court.lost = (after_splice(sim, splice).channel.funding_outpoint,)
    offered = sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 20)
    sim.move(0, offered)
    court.tell(sim.propose(), sim.revoke())
    there = after_splice(sim, splice)
    court.tell(ChannelUpdate(local_commitment=there.local_commitment()))
    court.force_close()
    court.mine()
    assert court.case.channel.funding_outpoint == there.funding_outpoint
    court.tell(sim.accept())
    court.mine(40)
    assert court.close_kind == "local"
    assert court.case.channel.funding_outpoint == sim.funding_outpoint
    assert [told["reason"] for told in court.told("htlc.failed")] == ["timed_out"]


def test_what_no_bitcoin_node_knows_is_tried_on_each_funding_once_a_day() -> None:
    """None is forgotten, and the node is not told with every block."""
    court = NeverMined(restarts=True)
    sim = SimulatedChannel("neither is mined", STATIC_REMOTEKEY)
    court.begin(sim)
    there = replaced_funding(court, sim)
    court.lost = (sim.channel.funding_outpoint, there.channel.funding_outpoint)
    court.force_close()
    court.mine(100)
    assert len(court.told("channel.closing")) <= 3
    assert len(court.case.decided_before) == 2
    court.lost = (there.channel.funding_outpoint,)
    court.mine(300)
    assert len(court.case.decided_before) == 2
    assert court.close_kind == "local"
    assert court.case.channel.funding_outpoint == sim.funding_outpoint


@BOTH_TYPES
@pytest.mark.parametrize("new_first", [True, False])
def test_s3_the_peers_commitment_is_told_for_each_funding(
    channel_type: str, new_first: bool
) -> None:
    """With ours on that funding, in one step: of the peer's only the balances differ."""
    both = OnBothFundings(channel_type)
    court, sim = both.court, both.sim
    there = both.on_the_new_one()
    court.tell(both.ours_on_the_new_one(), there.first_update())
    for _ in range(2):
        sim.move(50_000_000)
        there = both.on_the_new_one()
        for one in (there, sim) if new_first else (sim, there):
            court.tell(one.propose(), one.accept())
        court.tell(sim.revoke())
    assert [theirs.number for theirs in court.case.remote_commitments] == [2]
    court.broadcast(both.splice)
    court.mine()
    assert both.close() == {2}
    court.reorg(0, [both.on_the_new_one().their_commitment_tx(1)])
    assert court.close_kind == "breach"


def test_another_commitment_of_the_same_number_is_refused_during_a_splice() -> None:
    both = OnBothFundings(STATIC_REMOTEKEY)
    told = both.sim.remote_commitment(0)
    point = both.sim.theirs.point(1)
    for wrong in (replace(told, feerate_per_kw=2_000), replace(told, per_commitment_point=point)):
        with pytest.raises(CommitmentMismatch):
            both.court.tell(ChannelUpdate(remote_commitment=wrong))


class Unanswered(MemoryCourt):
    """From a moment on, what comes of publishing is not heard any more."""

    silent = False

    def _carry_out_one(self, effect: Effect) -> list[Event]:
        answers = super()._carry_out_one(effect)
        return [] if self.silent and isinstance(effect, PublishCommitment) else answers


@BOTH_TYPES
def test_what_may_be_out_on_the_new_funding_stays_known_though_one_on_the_old_was_sent(
    channel_type: str,
) -> None:
    """The signer signs one for each funding, and the node went on after both were decided."""
    court = Unanswered()
    sim = SimulatedChannel("one for each funding", channel_type)
    court.begin(sim)
    held = sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 40)
    court.tell(*sim.whole_move(0, held))
    splice = sim.splice_tx()
    court.tell_splice(splice)
    signed = after_splice(sim, splice)
    court.tell(ChannelUpdate(local_commitment=signed.local_commitment()))
    court.force_close()
    court.silent = True
    court.reorg(0, [splice])
    for _ in range(3):
        sim.move(0, held)
        there = after_splice(sim, splice)
        court.tell(there.propose(), there.revoke(), there.accept())
    court.reorg(0, [signed.our_commitment_tx(1)])
    court.mine(80)
    assert (court.close_kind, court.state) == ("local", "FULLY_RESOLVED")
    assert "htlc_unsigned" not in court.alarms()
