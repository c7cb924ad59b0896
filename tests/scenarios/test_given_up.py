"""What the sweeper won't pay for: an end, unless the chain opens it again."""

from __future__ import annotations

import pytest

from contractcourt.channel import Direction, Side
from contractcourt.contract import Contract
from contractcourt.events import SweepGivenUp
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.test_bolt5_closes import BOTH_TYPES, LARGE_MSAT, begun
from workers.simulation.channel import SimulatedChannel
from workers.simulation.peer import Peer


def _htlc_contract(court: MemoryCourt) -> Contract:
    [found] = [contract for contract in court.case.contracts if contract.htlc is not None]
    return found


@BOTH_TYPES
def test_a_received_htlc_that_was_given_up_stays_so_until_a_reorg_opens_it(
    channel_type: str,
) -> None:
    court = MemoryCourt(restarts=True)
    sim = SimulatedChannel("given up", channel_type)
    court.begin(sim)
    received = sim.htlc(1, Direction.RECEIVED, 4_000_000, court.height + 8)
    court.tell(*sim.whole_move(0, received))
    court.tell_preimage(sim.preimage(1))
    court.reorg(0, [sim.their_commitment_tx()])
    # Nothing enters a block by itself: the claim stays below the market.
    court.reorg(0)
    court.reorg(0)
    assert court.contract_stages["received_htlc"] == "sweeping"
    for _ in range(3):
        court.hear(SweepGivenUp(_htlc_contract(court).outpoint, "too small"))
        assert court.contract_stages["received_htlc"] == "resolved"
    [told] = court.told("contract.resolved")
    assert told["ours"] is False
    assert "given_up" in court.alarms()
    assert court.told("contract.reopened") == []
    while court.height < received.cltv_expiry:
        court.reorg(0)
    court.reorg(0, [Peer(sim).second_level(1, 1)])
    court.reorg(1)
    assert court.contract_stages["received_htlc"] == "sweeping"


@pytest.mark.parametrize("in_one_look", [True, False])
def test_l1_an_anchor_that_is_heard_of_late_keeps_no_case_open(in_one_look: bool) -> None:
    """The court was away for long, and nothing else of the commitment wakes its case any more."""
    court = MemoryCourt(restarts=True)
    all_msat = SimulatedChannel("").capacity_sat * 1000
    sim = SimulatedChannel("late anchor", opener=Side.REMOTE, to_remote_msat=all_msat)
    court.begin(sim)
    received = sim.htlc(1, Direction.RECEIVED, 40_000_000, court.height + 10)
    court.tell(*sim.whole_move(0, received))
    ours = sim.our_commitment_tx()
    if in_one_look:
        court.broadcast(ours)
        court.jump(40)
    else:
        # Nobody mines the sweep: its fee is more than it is worth.
        court.reorg(0, [ours])
        for _ in range(39):
            court.reorg(0)
    assert court.contract_stages == {"anchor": "resolved", "received_htlc": "resolved"}
    assert court.state == "FULLY_RESOLVED"


@BOTH_TYPES
def test_l24_an_htlc_that_expired_is_told_once_however_much_happens_after(
    channel_type: str,
) -> None:
    court, sim = begun("expired and told", channel_type)
    received = sim.htlc(1, Direction.RECEIVED, LARGE_MSAT, court.height + 6)
    court.tell(*sim.whole_move(0, received))
    court.reorg(0, [sim.their_commitment_tx()])
    court.mine(30)
    court.tell(*sim.whole_move(0, received))
    kinds = [told["contract"] for told in court.told("contract.resolved")]
    assert kinds.count("received_htlc") == 1
    assert court.told("contract.reopened") == []
