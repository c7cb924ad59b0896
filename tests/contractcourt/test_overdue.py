"""When a case should be further by now (users_ask L1)."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize("heights", [(200, 150), (150, 200)])
def test_a_case_ends_when_the_last_of_its_spends_is_buried(heights: tuple[int, int]) -> None:
    case = Case(
        examples.channel(1),
        state=State.WAITING_FULL_RESOLUTION,
        funding_spend=FundingSpend(
            CloseKind.REMOTE, examples.txid(9), HexBytes(b""), BlockHeight(100), BLOCK
        ),
        contracts=tuple(spent_at(number, height) for number, height in enumerate(heights, 1)),
    )
    due = 200 + case.policy.final_depth - 1
    assert overdue_since(case, BlockHeight(due + 2)) is None
    assert overdue_since(case, BlockHeight(due + 3)) == due
