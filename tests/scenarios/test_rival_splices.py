"""A funding that was gone on from, though the splice that makes it is mined."""

from __future__ import annotations

from contractcourt.bitcoin.transaction import Transaction
from contractcourt.events import ChannelUpdate
from tests.model.world import after_splice
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.test_bolt5_closes import BOTH_TYPES
from tests.scenarios.test_both_fundings import NeverMined
from workers.simulation.channel import SimulatedChannel


def _tell(court: MemoryCourt, sim: SimulatedChannel, splice: Transaction) -> SimulatedChannel:
    """The node tells a splice and our commitment on its funding; the channel as it is there."""
    court.tell_splice(splice)
    there = after_splice(sim, splice)
    court.tell(ChannelUpdate(local_commitment=there.local_commitment()))
    return there


def _go_on_to(court: NeverMined, there: SimulatedChannel) -> None:
    """A force close goes to this funding, which the Bitcoin node does not know."""
    court.lost = (there.channel.funding_outpoint,)
    court.force_close()
    court.mine(2)
    assert court.case.channel.funding_outpoint == there.funding_outpoint


@BOTH_TYPES
def test_p1_a_breach_is_answered_in_its_block_where_a_reorg_put_a_splices_rival_in_its_place(
    channel_type: str,
) -> None:
    """The first was locked and its rival forgotten by both, so that all there is revoked."""
    court = NeverMined(restarts=True)
    sim = SimulatedChannel("a locked splice and its rival", channel_type)
    court.begin(sim)
    locked, rival = sim.splice_tx(500), sim.splice_tx(900)
    for splice in (locked, rival):
        _tell(court, sim, splice)
    court.reorg(0, [locked])
    sim.move(50_000_000)
    there = after_splice(sim, locked)
    court.tell(there.propose(), there.revoke(), there.accept())
    court.reorg(1, [rival])
    _go_on_to(court, there)
    court.reorg(0, [after_splice(sim, rival).their_commitment_tx(0)])
    assert court.close_kind == "breach"
    assert "unknown_spend" not in court.alarms()


@BOTH_TYPES
def test_s5_a_close_of_the_mined_funding_is_heard_though_ours_was_published_on_the_next(
    channel_type: str,
) -> None:
    """The two sides use the second splice before it is mined, and then the peer closes."""
    court = NeverMined(restarts=True)
    sim = SimulatedChannel("used before it is mined", channel_type)
    court.begin(sim)
    first = sim.splice_tx()
    mined = _tell(court, sim, first)
    court.reorg(0, [first])
    second = mined.splice_tx()
    court.tell_splice(second)
    mined.move(50_000_000)
    there = after_splice(mined, second)
    court.tell(there.propose(), there.revoke(), there.accept())
    _go_on_to(court, there)
    court.reorg(0, [mined.their_commitment_tx()])
    assert [told["stage"] for told in court.told("channel.closing")] == ["requested", "seen"]
    assert "unknown_spend" not in court.alarms()
    court.mine(30)
    assert (court.state, court.close_kind) == ("FULLY_RESOLVED", "remote")
