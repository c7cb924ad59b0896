"""What overtakes other work, told from raw bytes and from effects (docs/users_ask.md C7)."""

from __future__ import annotations

import pytest

from contractcourt.advance import advance, open_case
from contractcourt.arbitrator.urgency import (
    Revocation,
    is_urgent,
    obscuring_factor,
    revoked_below,
)
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.case import Case
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY, Direction
from contractcourt.effects import PRESSING, PublishCommitment, SweepOutput, WakeAt
from contractcourt.events import (
    ChannelOpened,
    ChannelUpdated,
    Event,
    ForceCloseRequested,
    HeightReached,
    RevokedStateRecalled,
)
from contractcourt.units import BlockHeight, Txid
from tests.spent import spent
from workers.simulation.channel import SimulatedChannel

_TYPES = (ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY)
_EXPIRY = 700


def channel(channel_type: str = ANCHORS_ZERO_FEE_HTLC) -> SimulatedChannel:
    sim = SimulatedChannel(f"urgency {channel_type}", channel_type=channel_type)
    return sim.funded(OutPoint.of(Txid(b"\x07" * 32), 1))


def case_of(sim: SimulatedChannel, *events: Event) -> Case:
    """Opened, two states further, and what then happened."""
    case = open_case(ChannelOpened(sim.channel)).case
    case = advance(case, ChannelUpdated((sim.first_update(),))).case
    htlc = sim.htlc(1, Direction.OFFERED, 50_000_000, _EXPIRY)
    for moved in (sim.whole_move(10_000_000), sim.whole_move(20_000_000, htlc)):
        case = advance(case, ChannelUpdated(moved)).case
    for event in events:
        case = advance(case, event).case
    return case


def covers(case: Case, tx: Transaction) -> bool:
    revocation = Revocation(obscuring_factor(case.channel), revoked_below(case))
    return revocation.covers(tx.serialize())


@pytest.mark.parametrize("channel_type", _TYPES)
def test_c7_a_revoked_commitment_is_told_from_its_bytes(channel_type: str) -> None:
    sim = channel(channel_type)
    case = case_of(sim)
    assert covers(case, sim.their_commitment_tx(0))
    assert covers(case, sim.their_commitment_tx(1))
    for calm in (sim.their_commitment_tx(2), sim.our_commitment_tx(2), sim.cooperative_tx()):
        assert not covers(case, calm)


def test_c7_bytes_that_are_no_such_spend_are_not_urgent() -> None:
    sim = channel()
    case = case_of(sim)
    revocation = Revocation(obscuring_factor(case.channel), revoked_below(case))
    raw = sim.their_commitment_tx(0).serialize()
    assert revocation.covers(raw)
    assert not any(revocation.covers(raw[:end]) for end in range(len(raw)))
    assert not revocation.covers(b"")


def test_c7_justice_is_urgent_and_a_calm_sweep_is_not() -> None:
    sim = channel()
    case = case_of(sim)
    tx = sim.their_commitment_tx(1)
    spend = spent(sim.channel.funding_outpoint, tx, 600)
    asked = advance(case, spend)
    effects = list(asked.effects)
    recalled = advance(asked.case, RevokedStateRecalled(1, ()))
    effects += recalled.effects
    sweeps = {e.contract.kind.value: e for e in effects if isinstance(e, SweepOutput)}
    assert is_urgent(recalled.case, sweeps["revoked_to_local"])
    assert not is_urgent(recalled.case, sweeps["to_remote"])


def test_c7_a_force_close_is_urgent_when_an_htlc_decided_it() -> None:
    due = case_of(channel())
    decided = advance(due, HeightReached(BlockHeight(_EXPIRY)))
    asked = advance(due, ForceCloseRequested("2026-01-01T00:00:00+00:00", "operator", "a test"))
    for verdict, urgent in ((decided, True), (asked, False)):
        [publish] = [e for e in verdict.effects if isinstance(e, PublishCommitment)]
        assert is_urgent(verdict.case, publish) is urgent


def test_c7_an_expiry_is_an_urgent_deadline() -> None:
    sim = channel()
    case = case_of(sim)
    htlc = sim.htlc(2, Direction.OFFERED, 60_000_000, _EXPIRY + 9)
    told = advance(case, ChannelUpdated(sim.whole_move(0, htlc)))
    wakes = [e for e in told.effects if isinstance(e, WakeAt)]
    due = [wake for wake in wakes if wake.reason in PRESSING]
    assert due
    assert all(wake.urgent for wake in due)
