"""Which alarm clocks of HTLCs stop, and that none does which an HTLC still needs."""

from __future__ import annotations

from contractcourt.arbitrator import clocks
from contractcourt.arbitrator.clocks import Clock
from contractcourt.channel import STATIC_REMOTEKEY, Direction
from contractcourt.effects import HTLC_DUE, WakeAt
from contractcourt.events import PolicyChanged
from contractcourt.policy import Policy
from contractcourt.units import Blocks
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.test_bolt5_closes import LARGE_MSAT, begun
from workers.simulation.channel import SimulatedChannel


def _set_by(court: MemoryCourt) -> set[Clock]:
    return {(one.height, one.reason) for one in court.effects if isinstance(one, WakeAt)}


def _holding(name: str) -> tuple[MemoryCourt, SimulatedChannel]:
    court, sim = begun(name, STATIC_REMOTEKEY)
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 40)))
    return court, sim


def test_what_is_settled_stops_and_what_is_held_goes_on() -> None:
    court, sim = _holding("settled")
    held, its_own = court.case, _set_by(court)
    court.tell(*sim.whole_move(0))
    settled = court.case
    assert len(its_own) == 2
    assert clocks.stopped([held, settled]) == its_own
    assert clocks.stopped([settled, held]) == set()
    assert clocks.stopped([held, settled, held]) == set()


def test_another_policy_stops_what_it_moves() -> None:
    court, _ = _holding("moved")
    held, its_own = court.case, _set_by(court)
    court.hear(PolicyChanged(Policy(outgoing_broadcast_delta=Blocks(6))))
    assert clocks.stopped([held, court.case]) == its_own


def test_a_close_stops_what_takes_the_channel_on_chain_once_it_is_buried() -> None:
    court, sim = _holding("closed")
    held = court.case
    court.reorg(0, [sim.their_commitment_tx()])
    assert clocks.stopped([held, court.case]) == set()
    court.mine(3)
    assert court.case.closed
    assert {reason for _, reason in clocks.stopped([held, court.case])} == {HTLC_DUE}
