"""Whether a case should be further by now: no case is ever stuck (users_ask L1)."""

from __future__ import annotations

from contractcourt.arbitrator.depth import closing_depth, final_height
from contractcourt.case import Case, State
from contractcourt.contract import ContractStage
from contractcourt.units import BlockHeight

#: Blocks that a busy court may be behind the chain.
_GRACE = 2


def overdue_since(case: Case, height: BlockHeight) -> BlockHeight | None:
    """The height at which the case had to close or to end, if that is longer ago than a moment.

    A case that waits for the chain, for a peer or for an operator is not overdue.
    """
    due = _due(case)
    return due if due is not None and height > due + _GRACE else None


def _due(case: Case) -> BlockHeight | None:
    close = case.funding_spend
    if close is None or case.state is State.FULLY_RESOLVED:
        return None
    if not case.closed:
        return final_height(close.height, closing_depth(close.kind, case.channel.capacity_sat))
    last = close.height
    for contract in case.contracts:
        if contract.stage is ContractStage.RESOLVED:
            continue
        if contract.spend is None:
            return None
        last = max(last, contract.spend.height)
    return final_height(last, case.policy.final_depth)
