"""Whose a commitment is, where a main output is below dust and so not there to tell."""

from __future__ import annotations

import pytest

from contractcourt.arbitrator.depth import required_depth
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY, Direction
from tests.scenarios.memory import MemoryCourt
from workers.simulation.channel import SimulatedChannel
from workers.simulation.peer import Peer

BOTH_TYPES = pytest.mark.parametrize("channel_type", [STATIC_REMOTEKEY, ANCHORS_ZERO_FEE_HTLC])
_ALL_MSAT = 1_000_000_000


def _begun(channel_type: str, to_remote_msat: int) -> tuple[MemoryCourt, SimulatedChannel]:
    court = MemoryCourt(restarts=True)
    sim = SimulatedChannel("whose", channel_type, to_remote_msat=to_remote_msat)
    court.begin(sim)
    return court, sim


@BOTH_TYPES
def test_our_commitment_that_was_not_told_yet_is_not_the_peers(channel_type: str) -> None:
    """Of a fresh channel, in which the peer has nothing, with the number of one of theirs."""
    court, sim = _begun(channel_type, 0)
    offered = sim.htlc(1, Direction.OFFERED, 40_000_000, court.height + 40)
    sim.move(0, offered)
    court.tell(sim.propose(), sim.revoke())
    court.broadcast(sim.our_commitment_tx(1))
    court.mine(12)
    assert court.close_kind == "local_unknown"
    assert court.contract_stages["to_local"] == "resolved"
    assert court.told("htlc.failed") == []


@BOTH_TYPES
def test_an_old_copy_of_our_node_is_no_breach(channel_type: str) -> None:
    court, sim = _begun(channel_type, 0)
    for _ in range(3):
        court.tell(*sim.whole_move(1))
    court.broadcast(sim.our_commitment_tx(0))
    court.mine(12)
    assert court.close_kind == "local_unknown"
    assert court.contract_stages["to_local"] == "resolved"
    assert "breach" not in court.alarms()


@BOTH_TYPES
def test_their_commitments_without_an_output_of_ours_stay_theirs(channel_type: str) -> None:
    court, sim = _begun(channel_type, _ALL_MSAT)
    court.broadcast(sim.their_commitment_tx())
    court.mine(3)
    assert court.close_kind == "remote"
    court, sim = _begun(channel_type, _ALL_MSAT - 1_000)
    court.tell(*sim.whole_move(1))
    court.broadcast(sim.their_commitment_tx(0))
    court.mine()
    assert court.close_kind == "breach"
    assert court.contract_stages["revoked_to_local"] == "sweeping"


@BOTH_TYPES
def test_what_speaks_for_neither_side_is_ours_only_if_our_point_says_so(channel_type: str) -> None:
    """The peer's commitment is ahead of all we know, and we have no output on it."""
    court, sim = _begun(channel_type, _ALL_MSAT)
    court.broadcast(sim.their_commitment_tx(9))
    court.mine(3)
    assert "local_unknown" in court.alarms()
    assert court.close_kind == "data_loss"
    assert "data_loss" in court.alarms()
    assert [told["kind"] for told in court.told("channel.closed")] == ["data_loss"]


@BOTH_TYPES
def test_a_breach_without_a_main_output_is_one_once_our_point_has_spoken(
    channel_type: str,
) -> None:
    """We opened and hold next to nothing; the peer had offered all it has."""
    court, sim = _begun(channel_type, _ALL_MSAT - 1_000_000)
    received = sim.htlc(1, Direction.RECEIVED, _ALL_MSAT - 1_200_000, court.height + 200)
    court.tell(*sim.whole_move(0, received))
    court.tell(*sim.whole_move(-1_000, received))
    court.broadcast(sim.their_commitment_tx(1))
    court.mine()
    assert court.close_kind == "breach"  # The delay of the cheater's HTLC transaction may be short.
    court.mine(12)
    assert court.contract_stages == {"revoked_htlc": "resolved"}
    assert [contract.ours for contract in court.case.contracts] == [True]


@BOTH_TYPES
def test_what_is_not_ours_after_all_is_acted_on_as_soon_as_our_point_says_so(
    channel_type: str,
) -> None:
    """It is asked for once: no other event may come for long."""
    court = MemoryCourt()
    sim = SimulatedChannel("not ours", channel_type, to_remote_msat=_ALL_MSAT)
    court.begin(sim)
    court.reorg(0, [sim.their_commitment_tx(9)])
    court.jump(required_depth(court.case.channel.capacity_sat) - 1)
    assert court.close_kind == "data_loss"


def _our_commitment_untold(channel_type: str) -> tuple[MemoryCourt, SimulatedChannel]:
    """Our newest commitment is closed by before the court was told of it; the peer's was told."""
    court, sim = _begun(channel_type, 400_000_000)
    offered = sim.htlc(1, Direction.OFFERED, 40_000_000, court.height + 20)
    sim.move(0, offered)
    court.tell(sim.propose(), sim.revoke())
    court.broadcast(sim.our_commitment_tx(1))
    court.mine(4)
    assert court.close_kind == "local_unknown"
    assert court.contract_stages["offered_htlc"] == "immature"
    return court, sim


@BOTH_TYPES
def test_l7_a_claim_from_our_commitment_that_was_not_told_shows_its_preimage(
    channel_type: str,
) -> None:
    court, sim = _our_commitment_untold(channel_type)
    court.reorg(0, [Peer(sim).claim(1, 1, sim.preimage(1))])
    [fulfilled] = court.told("htlc.fulfilled")
    assert (fulfilled["htlc_id"], fulfilled["preimage"]) == (1, str(sim.preimage(1)))
    assert court.told("htlc.failed") == []


@BOTH_TYPES
def test_an_htlc_of_our_commitment_that_was_not_told_is_claimed_once_it_is(
    channel_type: str,
) -> None:
    court, sim = _our_commitment_untold(channel_type)
    court.mine(20)
    assert "htlc_unsigned" in court.alarms()
    assert court.state == "WAITING_FULL_RESOLUTION"
    court.tell(sim.accept())
    assert court.close_kind == "local"
    court.mine(20)
    assert [told["reason"] for told in court.told("htlc.failed")] == ["timed_out"]
    assert court.contract_stages["second_level"] == "resolved"


@BOTH_TYPES
@pytest.mark.parametrize("direction", list(Direction))
def test_our_mined_commitment_stays_ours_though_the_node_goes_on(
    channel_type: str, direction: Direction
) -> None:
    """An old copy of the node published it, and webhooks of the newer one come late."""
    court, sim = _begun(channel_type, 400_000_000)
    htlc = sim.htlc(1, direction, 40_000_000, court.height + 40)
    court.tell(*sim.whole_move(0, htlc))
    if direction is Direction.RECEIVED:
        court.tell_preimage(sim.preimage(1))
    court.broadcast(sim.our_commitment_tx())
    court.mine(4)
    for _ in range(3):
        court.tell(*sim.whole_move(0))
    assert court.close_kind == "local"
    assert "local_unknown" in court.alarms()
    court.mine(120)
    assert court.state == "FULLY_RESOLVED"
    assert court.contract_stages["second_level"] == "resolved"
    assert "htlc_unsigned" not in court.alarms()
