"""The close as a tree: its transaction, each output and who wins it, and what grew out of that."""

from __future__ import annotations

from dataclasses import dataclass

from contractcourt.contract import ContractKind
from workers.gateway.account_view import WINNERS
from workers.gateway.desk.risk import Risk, risk_of
from workers.gateway.responses import AccountLineView, AccountView, ChannelView, ContractView

_SECOND_LEVEL = (ContractKind.SECOND_LEVEL, ContractKind.REVOKED_SECOND_LEVEL)


@dataclass(frozen=True, slots=True)
class Branch:
    """One output. `winner` is the word, `won` the value that colours it."""

    outpoint: str
    kind: str
    value_sat: int
    won: str
    winner: str
    stage: str | None
    waits_for: str | None
    deadline: int | None
    risk: Risk
    payment_hash: str | None
    cltv_expiry: int | None
    spend_txid: str | None
    spend_height: int | None
    confirmations: int
    fee_sat: int
    grown: tuple[Branch, ...]


def branches(view: ChannelView, account: AccountView, height: int) -> tuple[Branch, ...]:
    """The outputs of the close in their order, with what grew out of each."""
    contracts = {contract.outpoint: contract for contract in view.contracts}
    return tuple(
        _branch(line, contracts.get(line.outpoint), view, height) for line in account.lines
    )


def _branch(
    line: AccountLineView, contract: ContractView | None, view: ChannelView, height: int
) -> Branch:
    if contract is None:
        return Branch(
            outpoint=line.outpoint,
            kind=line.kind or "output of the peer",
            value_sat=line.value_sat,
            won=line.winner,
            winner=WINNERS[line.winner],
            stage=None,
            waits_for=None,
            deadline=None,
            risk=Risk.CALM,
            payment_hash=None,
            cltv_expiry=None,
            spend_txid=line.txid,
            spend_height=line.height,
            confirmations=_confirmations(line.height, height),
            fee_sat=line.fee_sat,
            grown=(),
        )
    grown = tuple(
        _of_contract(other, "open" if other.ours is None else _whose(other), 0, height, ())
        for other in view.contracts
        if other.kind in _SECOND_LEVEL
        and contract.spend_txid is not None
        and other.outpoint.startswith(f"{contract.spend_txid}:")
        and other.payment_hash == contract.payment_hash
    )
    return _of_contract(contract, line.winner, line.fee_sat, height, grown)


def _of_contract(
    contract: ContractView, won: str, fee_sat: int, height: int, grown: tuple[Branch, ...]
) -> Branch:
    deadline = contract.deadline if contract.spend_txid is None else None
    return Branch(
        outpoint=contract.outpoint,
        kind=contract.kind,
        value_sat=contract.value_sat,
        won=won,
        winner=WINNERS[won],
        stage=contract.stage,
        waits_for=contract.waits_for,
        deadline=deadline,
        risk=risk_of(deadline, height),
        payment_hash=contract.payment_hash,
        cltv_expiry=contract.cltv_expiry,
        spend_txid=contract.spend_txid,
        spend_height=contract.spend_height,
        confirmations=_confirmations(contract.spend_height, height),
        fee_sat=fee_sat,
        grown=grown,
    )


def _whose(contract: ContractView) -> str:
    return "us" if contract.ours else "peer"


def _confirmations(mined_at: int | None, height: int) -> int:
    return 0 if mined_at is None else max(height - mined_at + 1, 0)
