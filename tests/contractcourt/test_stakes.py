"""What is at stake, by when, and how much of it may be paid for."""

from __future__ import annotations

from contractcourt.arbitrator import stakes
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, Direction, LocalCommitment
from contractcourt.contract import Contract, ContractKind
from contractcourt.events import PolicyChanged
from contractcourt.fee_rules import held_for_us
from contractcourt.policy import Policy
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.test_bolt5_closes import begun
from workers.simulation.channel import SimulatedChannel

_OFFERED, _RECEIVED = Direction.OFFERED, Direction.RECEIVED


def _ours(court: MemoryCourt) -> LocalCommitment:
    ours = court.case.local_commitment
    assert ours is not None
    return ours


def _holding(name: str, to_remote_msat: int) -> tuple[MemoryCourt, SimulatedChannel]:
    """80,000 sat hurry: two HTLCs on our commitment, one that stands on the peer's alone."""
    court, sim = begun(name, ANCHORS_ZERO_FEE_HTLC, to_remote_msat)
    now = court.height
    held = (
        sim.htlc(1, _OFFERED, 40_000_000, now + 40),
        sim.htlc(2, _RECEIVED, 30_000_000, now + 50),
        # Nobody told its preimage, and dust: neither is lost by waiting.
        sim.htlc(3, _RECEIVED, 20_000_000, now + 20),
        sim.htlc(4, _OFFERED, 200_000, now + 20),
    )
    court.tell(*sim.whole_move(0, *held))
    court.tell_preimage(sim.preimage(2))
    court.tell_preimage(sim.preimage(6))
    sim.move(
        0,
        *held,
        sim.htlc(2, _OFFERED, 10_000_000, now + 41),
        sim.htlc(6, _RECEIVED, 10_000_000, now + 17),
        sim.htlc(7, _OFFERED, 200_000, now + 17),
    )
    court.tell(sim.propose())
    return court, sim


def test_what_hurries_our_commitment_has_a_deadline_and_a_share_of_its_worth() -> None:
    court, _ = _holding("hurrying", 400_000_000)
    ours = _ours(court)
    assert stakes.hurrying_sat(court.case, ours) == 80_000
    assert stakes.commitment_budget_sat(court.case, ours) == 40_000
    # The received one: half of the 16 blocks before its expiry are left for its own transaction.
    assert stakes.commitment_deadline(court.case, ours) == court.height + 50 - 8


def test_a_commitment_that_nothing_hurries_may_cost_a_little_of_our_balance() -> None:
    court, _ = begun("calm", ANCHORS_ZERO_FEE_HTLC)
    ours = _ours(court)
    assert stakes.commitment_deadline(court.case, ours) is None
    assert stakes.commitment_budget_sat(court.case, ours) == ours.to_local_msat // 1000 * 5 // 100


def test_no_commitment_may_cost_more_than_the_signer_pays_for_it() -> None:
    court, _ = _holding("capped", 900_000_000)
    court.hear(PolicyChanged(Policy(budget_percent=100)))
    ours = _ours(court)
    most = held_for_us(ours) // 2
    assert most < stakes.hurrying_sat(court.case, ours)
    assert stakes.commitment_budget_sat(court.case, ours) == most


def test_what_nobody_else_can_take_never_costs_more_than_half_of_it() -> None:
    court, sim = _holding("shares", 400_000_000)
    court.hear(PolicyChanged(Policy(budget_percent=80, breach_budget_percent=90)))
    court.broadcast(sim.our_commitment_tx(1))
    court.mine(4)

    def share(kind: ContractKind) -> set[int]:
        found: list[Contract] = [c for c in court.case.contracts if c.kind is kind]
        assert found
        return {stakes.budget_sat(court.case, c) * 100 // c.value_sat for c in found}

    assert share(ContractKind.TO_LOCAL) <= {49, 50}
    assert share(ContractKind.OFFERED_HTLC) == share(ContractKind.RECEIVED_HTLC) == {80}
