"""Until a splice is locked commitments are signed for the old funding and for the new one."""

from __future__ import annotations

import pytest

from contractcourt.effects import PublishCommitment
from contractcourt.errors import CommitmentNumberRegression
from contractcourt.events import ChannelUpdate
from tests.model.world import after_splice
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.test_bolt5_closes import BOTH_TYPES
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
        sim.move(50_000_000)
        there = both.on_the_new_one()
        court.tell(there.propose(), there.revoke())
        court.tell(both.ours_on_the_new_one())
        if told:
            court.tell(sim.accept())
    court.reorg(1)
    assert both.close() == ({sim.number} if told else set())
    assert court.alarms() == (set() if told else {"no_local_commitment"})


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
