"""What a channel has settled is no burden to it: a case is as long as what is in flight."""

from __future__ import annotations

from contractcourt.channel import Direction
from contractcourt.codec import encode
from contractcourt.effects import PublishHtlcTransaction, SweepOutput
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
