"""What a channel has settled is no burden to it: a case is as long as what is in flight."""

from __future__ import annotations

import pytest

from contractcourt.channel import Direction
from contractcourt.codec import encode
from contractcourt.effects import (
    Effect,
    PublishCommitment,
    PublishHtlcTransaction,
    RaiseAlarm,
    SweepOutput,
)
from contractcourt.events import Event, PublishOutcome
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.test_bolt5_closes import BOTH_TYPES, LARGE_MSAT, begun
from workers.simulation.channel import SimulatedChannel


def _settle(court: MemoryCourt, sim: SimulatedChannel, number: int) -> None:
    """A payment comes in, its preimage is told, and both sides take it off their commitments."""
    htlc = sim.htlc(number, Direction.RECEIVED, LARGE_MSAT, court.height + 40)
    court.tell(*sim.whole_move(0, htlc))
    court.tell_preimage(sim.preimage(number))
    court.tell(*sim.whole_move(0))


@BOTH_TYPES
def test_p6_a_case_does_not_grow_with_what_is_settled(channel_type: str) -> None:
    court, sim = begun("settled payments", channel_type)
    for number in range(16):
        _settle(court, sim, number)
    early = len(encode(court.case))
    for number in range(16, 48):
        _settle(court, sim, number)
    # Numbers of more digits, and slots of the store of secrets.
    assert len(encode(court.case)) < early + 500


@BOTH_TYPES
def test_what_is_in_flight_on_any_commitment_keeps_its_preimage(channel_type: str) -> None:
    court, sim = begun("one of two", channel_type)
    first, second = (
        sim.htlc(number, Direction.RECEIVED, LARGE_MSAT, court.height + 40) for number in (1, 2)
    )
    court.tell(*sim.whole_move(0, first, second))
    for number in (1, 2):
        court.tell_preimage(sim.preimage(number))
    # The peer's has lost both, ours the second only.
    court.tell(*sim.whole_move(0, first))
    sim.move(0)
    court.tell(sim.propose(), sim.revoke())
    court.tell(sim.propose())
    court.broadcast(sim.our_commitment_tx(2))
    court.mine(3)
    claimed = {
        effect.contract.htlc.id
        for effect in court.effects
        if isinstance(effect, SweepOutput | PublishHtlcTransaction)
        and effect.contract.htlc is not None
    }
    assert claimed == {1}


class OneSignature(MemoryCourt):
    """Its signer signs one commitment for each funding (P3); `late`: what is said of it is heard
    once the node has told three newer ones."""

    def __init__(self, *, late: bool) -> None:
        super().__init__(restarts=True, answer=PublishOutcome.FEE_TOO_LOW)
        self.unheard: list[Event] = []
        self._late = late

    def _carry_out_one(self, effect: Effect) -> list[Event]:
        if isinstance(effect, PublishCommitment) and self._commitments - {effect.commitment.txid}:
            return []
        answers = super()._carry_out_one(effect)
        if self._late and isinstance(effect, PublishCommitment):
            self.unheard, answers = answers, []
        return answers

    def hear_what_was_late(self) -> None:
        for event in self.unheard:
            self.hear(event)


@BOTH_TYPES
@pytest.mark.parametrize("late", [False, True])
def test_p6_a_case_does_not_grow_while_the_node_goes_on_after_a_force_close(
    channel_type: str, late: bool
) -> None:
    """What was sent waits for lower fees, and the node was not told to stop."""
    court = OneSignature(late=late)
    sim = SimulatedChannel(f"going on {late}", channel_type)
    court.begin(sim)
    offered = sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 80)
    court.tell(*sim.whole_move(0, offered))
    sent = sim.our_commitment_tx()
    assert court.force_close() == sent.txid()
    for _ in range(3):
        court.tell(*sim.whole_move(0, offered))
    court.hear_what_was_late()
    early = len(encode(court.case))
    for _ in range(16):
        court.tell(*sim.whole_move(0, offered))
    assert len(encode(court.case)) < early + 500
    # An alarm in the same words is one alarm, until the operator clears it.
    said = {effect.message for effect in court.effects if isinstance(effect, RaiseAlarm)}
    assert len(said) == 1
    # It may be mined all the same, and its HTLCs are claimed then.
    court.publish_answer = None
    court.reorg(0, [sent])
    court.mine(100)
    assert court.close_kind == "local"
    assert court.contract_stages["offered_htlc"] == "resolved"
    assert "htlc_unsigned" not in court.alarms()


@BOTH_TYPES
def test_what_is_settled_once_a_commitment_is_mined_keeps_its_preimage(channel_type: str) -> None:
    """The node tells late; the commitment that is mined holds the HTLC still."""
    court, sim = begun("settled late", channel_type)
    held = sim.htlc(1, Direction.RECEIVED, LARGE_MSAT, court.height + 40)
    court.tell(*sim.whole_move(0, held))
    court.tell_preimage(sim.preimage(1))
    court.reorg(0, [sim.our_commitment_tx()])
    court.tell(*sim.whole_move(0))
    court.tell(*sim.whole_move(0))
    assert court.case.preimage_of(held.payment_hash) == sim.preimage(1)
