"""The account of a channel: who won each output of its close, by which transaction, at what fee.

It adds up in every state of a case: what the close paid out is won, lost, given up, still open, or
agreed on, to the satoshi, and with the fee of the close it is the channel's capacity.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.script import p2wsh
from contractcourt.bitcoin.transaction import Transaction, TxOut
from contractcourt.bolt3 import scripts
from contractcourt.case import Case, FundingSpend, State
from contractcourt.channel import Direction, Side
from contractcourt.contract import HTLC_OUTPUTS, Contract, ContractKind, ContractStage
from contractcourt.effects import CloseKind
from contractcourt.units import BlockHeight, Satoshi, Txid

#: An HTLC output moves on to one of these, where it is won or lost.
_SECOND_LEVEL = (ContractKind.SECOND_LEVEL, ContractKind.REVOKED_SECOND_LEVEL)


class Winner(StrEnum):
    """Whose an output is in the end."""

    US = "us"
    PEER = "peer"
    #: Not spent, or not yet seen whose spend it is.
    OPEN = "open"
    #: It never paid for its own sweep.
    GIVEN_UP = "given_up"
    #: As both signed a cooperative close.
    AGREED = "agreed"


class AccountLine(msgspec.Struct, frozen=True):
    """One output of the close. `kind` is None for what was the peer's from the start, or agreed.

    `won_sat` is what of its value is ours: all, or none, or what a cheater left of it at the
    second level. `txid` spent it at `height`; `second_level_txid` spent the output it moved to.
    `fee_sat` is what our transactions paid for it.
    """

    outpoint: OutPoint
    value_sat: Satoshi
    winner: Winner
    kind: ContractKind | None = None
    won_sat: Satoshi = Satoshi(0)
    txid: Txid | None = None
    height: BlockHeight | None = None
    second_level_txid: Txid | None = None
    fee_sat: Satoshi = Satoshi(0)


class Promise(msgspec.Struct, frozen=True):
    """What our newest commitment says: our balance, and the HTLCs in flight each way. Satoshi."""

    balance_sat: Satoshi
    offered_sat: Satoshi
    received_sat: Satoshi


class Account(msgspec.Struct, frozen=True):
    """One channel. `final`: nothing can change any more. Sums in satoshi.

    won + lost + given up + open + agreed + closing fee = capacity. `fees_sat` is what our own
    transactions paid, the close itself included when we opened the channel; `net_sat` is what is
    won less that.
    """

    final: bool
    capacity_sat: Satoshi
    promise: Promise | None = None
    close_kind: CloseKind | None = None
    closing_txid: Txid | None = None
    closing_fee_sat: Satoshi = Satoshi(0)
    lines: tuple[AccountLine, ...] = ()
    won_sat: Satoshi = Satoshi(0)
    lost_sat: Satoshi = Satoshi(0)
    given_up_sat: Satoshi = Satoshi(0)
    open_sat: Satoshi = Satoshi(0)
    agreed_sat: Satoshi = Satoshi(0)
    fees_sat: Satoshi = Satoshi(0)

    @property
    def net_sat(self) -> Satoshi:
        """What is won, less what was paid for it."""
        return Satoshi(self.won_sat - self.fees_sat)


def account_of(case: Case, fees: Mapping[OutPoint, Satoshi]) -> Account:
    """The account as it stands.

    Args:
        fees: what our mined transactions paid for each output that they spent.
    """
    final = case.state is State.FULLY_RESOLVED
    capacity, promise = case.channel.capacity_sat, _promise(case)
    close = case.funding_spend
    if close is None:
        return Account(final, capacity, promise, open_sat=capacity)
    tx = Transaction.parse(close.tx)
    lines = tuple(
        _line(case, close, OutPoint.of(close.txid, index), output, fees)
        for index, output in enumerate(tx.outputs)
    )
    closing_fee = Satoshi(capacity - sum(line.value_sat for line in lines))
    ours_to_pay = case.channel.opener is Side.LOCAL and close.kind is not CloseKind.COOPERATIVE
    own_fees = sum(line.fee_sat for line in lines) + (closing_fee if ours_to_pay else 0)
    return Account(
        final=final,
        capacity_sat=capacity,
        promise=promise,
        close_kind=close.kind,
        closing_txid=close.txid,
        closing_fee_sat=closing_fee,
        lines=lines,
        won_sat=Satoshi(sum(line.won_sat for line in lines)),
        lost_sat=Satoshi(sum(_lost(line) for line in lines)),
        given_up_sat=_total(lines, Winner.GIVEN_UP),
        open_sat=_total(lines, Winner.OPEN),
        agreed_sat=_total(lines, Winner.AGREED),
        fees_sat=Satoshi(own_fees),
    )


def _promise(case: Case) -> Promise | None:
    commitment = case.local_commitment
    if commitment is None:
        return None
    in_flight = dict.fromkeys(Direction, 0)
    for htlc in commitment.htlcs:
        in_flight[htlc.direction] += htlc.amount_msat
    return Promise(
        Satoshi(commitment.to_local_msat // 1000),
        Satoshi(in_flight[Direction.OFFERED] // 1000),
        Satoshi(in_flight[Direction.RECEIVED] // 1000),
    )


def _line(
    case: Case,
    close: FundingSpend,
    outpoint: OutPoint,
    output: TxOut,
    fees: Mapping[OutPoint, Satoshi],
) -> AccountLine:
    value_sat = Satoshi(output.value)
    contract = next((c for c in case.contracts if c.outpoint == outpoint), None)
    if contract is None and case.channel.anchors and _is_our_anchor(case, output):
        # On the peer's commitment it is left alone (docs/decisions/0008).
        return AccountLine(outpoint, value_sat, Winner.GIVEN_UP, ContractKind.ANCHOR)
    if contract is None:
        return AccountLine(outpoint, value_sat, _not_ours(close.kind))
    moved = _moved_to(case, contract)
    last = contract if moved is None else moved
    winner = _winner(last)
    fee = fees.get(outpoint, 0) + (0 if moved is None else fees.get(moved.outpoint, 0))
    return AccountLine(
        outpoint=outpoint,
        value_sat=value_sat,
        winner=winner,
        kind=contract.kind,
        won_sat=_won(contract, moved) if winner is Winner.US else Satoshi(0),
        txid=None if contract.spend is None else contract.spend.txid,
        height=None if contract.spend is None else contract.spend.height,
        second_level_txid=None if moved is None or moved.spend is None else moved.spend.txid,
        fee_sat=Satoshi(fee),
    )


def _is_our_anchor(case: Case, output: TxOut) -> bool:
    return output.script_pubkey == p2wsh(scripts.anchor(case.channel.funding_pubkey(Side.LOCAL)))


def _not_ours(kind: CloseKind) -> Winner:
    match kind:
        case CloseKind.COOPERATIVE:
            return Winner.AGREED
        case CloseKind.UNKNOWN_SPEND:
            return Winner.OPEN
        case _:
            return Winner.PEER


def _moved_to(case: Case, contract: Contract) -> Contract | None:
    """The second-level output that an HTLC output went on to.

    One transaction may move several HTLCs that were never told, and so are alike but for what they
    are worth: under anchors, where that can be, nothing is lost on the way.
    """
    spend = contract.spend
    if spend is None or contract.kind not in HTLC_OUTPUTS:
        return None
    alike = [c for c in case.contracts if c.spend == spend and c.htlc == contract.htlc]
    spent = sorted((c for c in alike if c.kind in HTLC_OUTPUTS), key=_worth)
    made = sorted(
        (
            other
            for other in case.contracts
            if other.kind in _SECOND_LEVEL
            and other.outpoint.txid == spend.txid
            and other.htlc == contract.htlc
        ),
        key=_worth,
    )
    place = spent.index(contract)
    return made[place] if place < len(made) else None


def _worth(contract: Contract) -> Satoshi:
    return contract.value_sat


def _winner(contract: Contract) -> Winner:
    if contract.spend is not None:
        if contract.ours is None:
            return Winner.OPEN
        return Winner.US if contract.ours else Winner.PEER
    if contract.stage is not ContractStage.RESOLVED:
        return Winner.OPEN
    # An HTLC that nobody claimed is the peer's to take back at any time.
    received = contract.kind is ContractKind.RECEIVED_HTLC
    return Winner.PEER if received else Winner.GIVEN_UP


def _won(contract: Contract, moved: Contract | None) -> Satoshi:
    """All of it; of a cheater's second level what the cheater's own fee left."""
    if moved is not None and moved.kind is ContractKind.REVOKED_SECOND_LEVEL:
        return moved.value_sat
    return contract.value_sat


def _lost(line: AccountLine) -> int:
    match line.winner:
        case Winner.PEER:
            return line.value_sat
        case Winner.US:
            return line.value_sat - line.won_sat
        case _:
            return 0


def _total(lines: tuple[AccountLine, ...], winner: Winner) -> Satoshi:
    return Satoshi(sum(line.value_sat for line in lines if line.winner is winner))
