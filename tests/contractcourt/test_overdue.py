"""When a case should be further by now (users_ask L1)."""

from __future__ import annotations

import pytest

from contractcourt.arbitrator.depth import required_depth
from contractcourt.arbitrator.overdue import overdue_since
from contractcourt.case import Case, FundingSpend, State
from contractcourt.contract import Contract, ContractStage, Spend
from contractcourt.effects import CloseKind
from contractcourt.units import BlockHash, BlockHeight, HexBytes
from tests.storage import examples

BLOCK = BlockHash(bytes(32))


def spent_at(number: int, height: int) -> Contract:
    spend = Spend(examples.txid(number), BlockHeight(height), BLOCK)
    return examples.contract(number, ContractStage.SPENT, spend)


def closed_at(height: int, state: State, *contracts: Contract) -> Case:
    """By the peer's commitment, mined at this height."""
    return Case(
        examples.channel(1),
        state=state,
        funding_spend=FundingSpend(
            CloseKind.REMOTE, examples.txid(9), HexBytes(b""), BlockHeight(height), BLOCK
        ),
        contracts=contracts,
    )


@pytest.mark.parametrize("heights", [(200, 150), (150, 200)])
def test_a_case_ends_when_the_last_of_its_spends_is_buried(heights: tuple[int, int]) -> None:
    contracts = (spent_at(number, height) for number, height in enumerate(heights, 1))
    case = closed_at(100, State.WAITING_FULL_RESOLUTION, *contracts)
    due = 200 + case.policy.final_depth - 1
    assert overdue_since(case, BlockHeight(due + 2)) is None
    assert overdue_since(case, BlockHeight(due + 3)) == due


def test_a_close_is_overdue_once_it_should_have_been_acted_on() -> None:
    case = closed_at(100, State.DEFAULT)
    due = 100 + required_depth(case.channel.capacity_sat) - 1
    assert overdue_since(case, BlockHeight(due + 2)) is None
    assert overdue_since(case, BlockHeight(due + 3)) == due


@pytest.mark.parametrize("stage", [ContractStage.SWEEPING, ContractStage.UNRESOLVED])
def test_what_waits_for_the_chain_or_for_an_operator_is_not_overdue(stage: ContractStage) -> None:
    waiting = examples.contract(2, stage)
    case = closed_at(100, State.WAITING_FULL_RESOLUTION, spent_at(1, 100), waiting)
    assert overdue_since(case, BlockHeight(900)) is None


def test_what_is_resolved_holds_up_no_other() -> None:
    over = examples.contract(2, ContractStage.RESOLVED)
    case = closed_at(100, State.WAITING_FULL_RESOLUTION, spent_at(1, 120), over)
    assert overdue_since(case, BlockHeight(900)) == 120 + case.policy.final_depth - 1


def test_a_case_that_has_ended_is_not_overdue() -> None:
    case = closed_at(100, State.FULLY_RESOLVED, spent_at(1, 100))
    assert overdue_since(case, BlockHeight(900)) is None
