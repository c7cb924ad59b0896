"""What the node is told of contracts and breaches, each fact once (users_ask L24)."""

from __future__ import annotations

from contractcourt.arbitrator import stakes
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.case import Case
from contractcourt.contract import Contract, ContractKind
from contractcourt.effects import CloseKind

_ON_THE_COMMITMENT = (ContractKind.REVOKED_TO_LOCAL, ContractKind.REVOKED_HTLC)


def contract_resolved(hearing: Hearing, contract: Contract) -> None:
    """Nothing is left to win or lose of it; by whose transaction, if by any."""
    _tell(hearing, "contract.resolved", contract)


def contract_reopened(hearing: Hearing, contract: Contract) -> None:
    """What was told of it is taken back: by a reorg, or a preimage that came late."""
    _tell(hearing, "contract.reopened", contract)


def _tell(hearing: Hearing, event_type: str, contract: Contract) -> None:
    spend, htlc = contract.spend, contract.htlc
    hearing.notify(
        event_type,
        outpoint=str(contract.outpoint),
        contract=contract.kind.value,
        value_sat=contract.value_sat,
        ours=bool(contract.ours),
        txid=None if spend is None else str(spend.txid),
        height=hearing.case.best_height if spend is None else spend.height,
        htlc_id=None if htlc is None else htlc.id,
    )


def breach_seen(hearing: Hearing) -> None:
    """A revoked commitment is mined: what the court will take of it, and until when it can."""
    spend = hearing.case.funding_spend
    if spend is None or spend.kind is not CloseKind.BREACH:
        return
    revoked = _revoked(hearing.case)
    heights = [stakes.deadline(hearing.case, contract) for contract in revoked]
    hearing.notify(
        "breach.seen",
        txid=str(spend.txid),
        height=spend.height,
        commitment_number=spend.commitment_number,
        outputs=len(revoked),
        value_at_risk_sat=sum(contract.value_sat for contract in revoked),
        lost_at=min((height for height in heights if height is not None), default=None),
    )


def breach_settled(hearing: Hearing) -> None:
    """Every output of the revoked commitment is buried: what was taken, and what the thief kept."""
    case = hearing.case
    spend = case.funding_spend
    if spend is None or spend.kind is not CloseKind.BREACH:
        return
    at_stake = sum(contract.value_sat for contract in _revoked(case))
    won = sum(
        contract.value_sat
        for contract in case.contracts
        if contract.ours
        and contract.kind in (*_ON_THE_COMMITMENT, ContractKind.REVOKED_SECOND_LEVEL)
    )
    hearing.notify("breach.settled", txid=str(spend.txid), won_sat=won, lost_sat=at_stake - won)


def _revoked(case: Case) -> list[Contract]:
    return [contract for contract in case.contracts if contract.kind in _ON_THE_COMMITMENT]
