"""An HTLC that we can claim does not wait for the depth of its close until the peer can take it."""

from __future__ import annotations

import pytest

from contractcourt.arbitrator.depth import required_depth
from contractcourt.channel import Direction, Side
from contractcourt.effects import PublishHtlcTransaction, SweepOutput
from contractcourt.units import Satoshi
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.test_bolt5_closes import BOTH_TYPES, LARGE_MSAT
from workers.simulation.channel import SimulatedChannel
from workers.simulation.peer import Peer

_CAPACITY_SAT = 20_000_000
_DEPTH = required_depth(Satoshi(_CAPACITY_SAT))
_EXPIRES_IN = 40


def _mined(
    channel_type: str, owner: Side, before: int, *, known: bool = True
) -> tuple[MemoryCourt, SimulatedChannel]:
    """A large channel's commitment is mined so many blocks before an HTLC expires."""
    court, sim = _large(channel_type)
    expiry = court.height + _EXPIRES_IN
    received = sim.htlc(1, Direction.RECEIVED, LARGE_MSAT, expiry)
    court.tell(*sim.whole_move(0, received))
    # On the peer's pending commitment only.
    sim.move(0, received, sim.htlc(2, Direction.OFFERED, LARGE_MSAT, expiry + 100))
    court.tell(sim.propose())
    while court.height < expiry - before - 1:
        court.reorg(0)
    if known:
        court.tell_preimage(sim.preimage(1))
    tx = sim.their_commitment_tx(1) if owner is Side.REMOTE else sim.our_commitment_tx(1)
    court.chain.mempool.clear()
    court.reorg(0, [tx])
    return court, sim


def _large(channel_type: str) -> tuple[MemoryCourt, SimulatedChannel]:
    court = MemoryCourt(restarts=True)
    sim = SimulatedChannel(
        "hurried",
        channel_type,
        capacity_sat=_CAPACITY_SAT,
        to_remote_msat=8_000_000_000,
    )
    court.begin(sim)
    return court, sim


def _claims(court: MemoryCourt) -> int:
    asked = (
        effect
        for effect in court.effects
        if isinstance(effect, SweepOutput | PublishHtlcTransaction)
        and effect.contract.htlc is not None
    )
    return len(list(asked))


@BOTH_TYPES
@pytest.mark.parametrize("owner", list(Side))
@pytest.mark.parametrize("before", [13, 6, 4, 1])
def test_l9_r7_a_claim_that_would_come_late_is_asked_for_at_once(
    channel_type: str, owner: Side, before: int
) -> None:
    court, _ = _mined(channel_type, owner, before)
    assert _claims(court) > 0
    assert court.case.closed


@BOTH_TYPES
def test_what_has_time_waits_for_the_depth(channel_type: str) -> None:
    court, _ = _mined(channel_type, Side.REMOTE, 14)
    for _ in range(_DEPTH - 1):
        assert not court.case.closed
        court.reorg(0)
    assert court.case.closed
    assert _claims(court) > 0


@BOTH_TYPES
def test_a_preimage_that_comes_after_the_commitment_is_used_at_once(channel_type: str) -> None:
    court, sim = _mined(channel_type, Side.REMOTE, 4, known=False)
    court.reorg(0)
    assert not court.case.closed
    court.tell_preimage(sim.preimage(1))
    assert _claims(court) > 0


@BOTH_TYPES
def test_u3_upstream_is_failed_at_the_full_depth_all_the_same(channel_type: str) -> None:
    court, _ = _mined(channel_type, Side.REMOTE, 4)
    for _ in range(_DEPTH - 1):
        assert court.told("htlc.failed") == []
        court.reorg(0)
    assert [told["htlc_id"] for told in court.told("htlc.failed")] == [2]


@BOTH_TYPES
def test_a_reorg_takes_a_hurried_close_back(channel_type: str) -> None:
    court, sim = _mined(channel_type, Side.REMOTE, 4)
    court.reorg(1, [sim.our_commitment_tx(1)])
    assert court.close_kind == "local"
    assert court.contract_stages["received_htlc"] == "sweeping"
    court.chain.mempool.clear()
    court.mine(40)
    assert court.state == "FULLY_RESOLVED"


def test_dust_has_no_claim_that_could_come_late() -> None:
    court = MemoryCourt(restarts=True)
    sim = SimulatedChannel("hurried dust", capacity_sat=_CAPACITY_SAT)
    court.begin(sim)
    dust = sim.htlc(1, Direction.RECEIVED, 100_000, court.height + 3)
    court.tell(*sim.whole_move(0, dust))
    court.tell_preimage(sim.preimage(1))
    court.broadcast(sim.their_commitment_tx())
    for _ in range(_DEPTH - 1):
        court.mine()
        assert not court.case.closed
    court.mine()
    assert court.case.closed


@BOTH_TYPES
@pytest.mark.parametrize("owner", list(Side))
@pytest.mark.parametrize("late", [4, 14, 30])
def test_l7_r6_what_the_peer_shows_is_told_at_once_on_a_commitment_that_was_mined_late(
    channel_type: str, owner: Side, late: int
) -> None:
    """Upstream's HTLC lives 34 blocks longer: at the full depth it may be over."""
    court, sim = _large(channel_type)
    expiry = court.height + _EXPIRES_IN
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, expiry)))
    court.refuse_publishing(True)
    while court.height < expiry + late - 1:
        court.reorg(0)
    peer, preimage = Peer(sim), sim.preimage(1)
    if owner is Side.REMOTE:
        court.reorg(0, [sim.their_commitment_tx(1)])
        court.reorg(0, [peer.second_level(1, 1, preimage)])
    else:
        court.reorg(0, [sim.our_commitment_tx(1)])
        court.reorg(0, [peer.claim(1, 1, preimage)])
    assert [told["htlc_id"] for told in court.told("htlc.fulfilled")] == [1]


@BOTH_TYPES
@pytest.mark.parametrize("owner", list(Side))
def test_l6_r5_a_timeout_that_would_come_late_is_asked_for_at_once(
    channel_type: str, owner: Side
) -> None:
    court, sim = _large(channel_type)
    expiry = court.height + _EXPIRES_IN
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, expiry)))
    court.refuse_publishing(True)
    while court.height < expiry + 13:
        court.reorg(0)
    tx = sim.their_commitment_tx(1) if owner is Side.REMOTE else sim.our_commitment_tx(1)
    court.reorg(0, [tx])
    assert _claims(court) > 0
