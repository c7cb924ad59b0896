"""Following the contracts of a case, output by output, until nothing is left.

A contract is judged by the chain's word on its outpoint. Whoever spends it resolves it, once
that spend is buried; a reorg of the spend opens it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

import msgspec

from contractcourt.alarms import AlarmKind
from contractcourt.arbitrator import htlcs, machine, spends, telling, unread
from contractcourt.arbitrator.depth import depth_of, final_height
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3.htlc_spends import HtlcSpend
from contractcourt.case import Case, KnownPreimage
from contractcourt.channel import Direction, Htlc
from contractcourt.contract import Contract, ContractKind, ContractStage, Spend
from contractcourt.effects import Effect, SharePreimage, UnwatchOutpoint, WatchOutpoint
from contractcourt.events import SpendConfirmed, SpendSeen, SpendUnconfirmed, SweepGivenUp
from contractcourt.resolvers import (
    anchor,
    breach,
    commit_output,
    incoming_htlc,
    outgoing_htlc,
)
from contractcourt.units import Secret


def launch(hearing: Hearing) -> None:
    """Watch every contract's outpoint; each is then followed by `progress`."""
    for contract in hearing.case.contracts:
        _watch(hearing, contract)
    unread.watch(hearing)


def _watch(hearing: Hearing, contract: Contract) -> None:
    hearing.want(
        WatchOutpoint(contract.outpoint, contract.script_pubkey, contract.confirmed_height)
    )


def hear_spend(hearing: Hearing, event: SpendConfirmed) -> None:
    """Take in a spend of a contract's outpoint. One of no contract outlived its reason.

    The same spend may be told twice, by the block and by looking back.
    """
    contract = _find(hearing.case, event.outpoint)
    if contract is None:
        read = unread.read_spend(hearing.case, event)
        _tell_what_it_reveals(hearing, read, htlcs.valid_offered(hearing.case).values())
        return
    if contract.kind is ContractKind.UNKNOWN_SPEND:
        return
    spend = Spend(event.txid, event.height, event.block_hash)
    if contract.spend == spend:
        return
    if contract.spend is not None:
        contract = _take_back_spend(hearing, contract, contract.spend)
    tx = Transaction.parse(event.tx)
    _read_preimage(hearing, contract, tx)
    moved = spends.moved_output(hearing.case.channel, contract, tx, event)
    ours = moved is not None and moved.kind is ContractKind.SECOND_LEVEL
    spent = msgspec.structs.replace(
        contract,
        spend=spend,
        ours=ours or spends.is_ours(hearing.case, contract, tx),
        given_up=False,
        stage=ContractStage.SPENT,
    )
    _put(hearing, spent)
    if moved is not None and _find(hearing.case, moved.outpoint) is None:
        hearing.change(contracts=(*hearing.case.contracts, moved))
        _watch(hearing, moved)
    machine.unresolve_if_open(hearing)


def hear_seen(hearing: Hearing, event: SpendSeen) -> None:
    """A claim that is not mined yet shows its preimage all the same (users_ask L15)."""
    contract = _find(hearing.case, event.outpoint)
    if contract is not None and contract.spend is None:
        _read_preimage(hearing, contract, Transaction.parse(event.tx))


def hear_given_up(hearing: Hearing, event: SweepGivenUp) -> None:
    """It will never pay for its own sweep: given up, and said so."""
    contract = _find(hearing.case, event.outpoint)
    if contract is None or contract.stage is not ContractStage.SWEEPING:
        return
    _resolve(hearing, msgspec.structs.replace(contract, ours=False, given_up=True))
    hearing.alarm(AlarmKind.GIVEN_UP, f"{contract.kind.value} {contract.outpoint}: {event.reason}")


def _read_preimage(hearing: Hearing, contract: Contract, tx: Transaction) -> None:
    """A claim by hash shows the preimage: told at once, before any depth (L7, U1)."""
    for htlc in _may_be_of(hearing.case, contract):
        spend = spends.read_spend(msgspec.structs.replace(contract, htlc=htlc), tx)
        _tell_what_it_reveals(hearing, spend, [htlc])


def _tell_what_it_reveals(
    hearing: Hearing, spend: HtlcSpend | None, offered: Iterable[Htlc]
) -> None:
    for htlc in offered:
        preimage = None if spend is None else spend.reveals(htlc.payment_hash)
        if preimage is not None:
            _tell_preimage(hearing, htlc, preimage)


def _may_be_of(case: Case, contract: Contract) -> list[Htlc]:
    """The offered HTLC of this output: any, where the HTLCs of a revoked commitment are lost."""
    if contract.htlc is not None:
        return [contract.htlc] if contract.htlc.direction is Direction.OFFERED else []
    return list(htlcs.valid_offered(case).values())


def _tell_preimage(hearing: Hearing, htlc: Htlc, preimage: Secret) -> None:
    case = hearing.case
    if case.preimage_of(htlc.payment_hash) is None:
        known = KnownPreimage(htlc.payment_hash, preimage)
        hearing.change(preimages=(*case.preimages, known))
    hearing.want(SharePreimage(case.channel.node, htlc.payment_hash, preimage))
    htlcs.fulfil_upstream(hearing, htlc, preimage)


def hear_unspend(hearing: Hearing, event: SpendUnconfirmed) -> None:
    """A reorg took a spend of a contract back. One that names another spend says nothing new."""
    contract = _find(hearing.case, event.outpoint)
    if contract is None or contract.spend is None:
        return
    if (contract.spend.txid, contract.spend.block_hash) == (event.txid, event.block_hash):
        _take_back_spend(hearing, contract, contract.spend)
        machine.unresolve_if_open(hearing)


def _take_back_spend(hearing: Hearing, contract: Contract, spend: Spend) -> Contract:
    """The contract open again, without what that spend had made of it.

    What the same transaction made of other HTLCs goes with the word on their own outputs: of those
    that were never told nobody knows which is whose, so all goes with the last of them.
    """
    alike = [c for c in hearing.case.contracts if c.htlc == contract.htlc]
    others = any(
        c.spend is not None and c.spend.txid == spend.txid and c.outpoint != contract.outpoint
        for c in alike
    )
    made = [] if others else [c for c in alike if c.outpoint.txid == spend.txid]
    for gone in made:
        hearing.want(UnwatchOutpoint(gone.outpoint))
    kept = tuple(c for c in hearing.case.contracts if c not in made)
    hearing.change(contracts=kept)
    open_again = msgspec.structs.replace(
        contract, spend=None, ours=None, stage=ContractStage.IMMATURE
    )
    _put(hearing, open_again)
    if contract.stage is ContractStage.RESOLVED:
        telling.contract_reopened(hearing, contract)
    return open_again


def progress(hearing: Hearing) -> None:
    """Move every contract as far as the present height allows."""
    for contract in hearing.case.contracts:
        match contract.stage:
            case ContractStage.IMMATURE:
                _act(hearing, contract)
            case ContractStage.SPENT:
                _bury_or_wait(hearing, contract)
            case ContractStage.RESOLVED:
                _reconsider(hearing, contract)
            case ContractStage.SWEEPING:
                _give_up(hearing, contract)
            case ContractStage.UNRESOLVED:
                continue
            case unreachable:
                assert_never(unreachable)


def _act(hearing: Hearing, contract: Contract) -> None:
    if not _give_up(hearing, contract) and _ask(hearing, contract):
        _put(hearing, msgspec.structs.replace(contract, stage=ContractStage.SWEEPING))


def _give_up(hearing: Hearing, contract: Contract) -> bool:
    """Let go of what is somebody else's by now, or anybody's; False while it is not."""
    match contract.kind:
        case ContractKind.RECEIVED_HTLC:
            gone = incoming_htlc.is_given_up(hearing, contract)
        case ContractKind.ANCHOR:
            gone = anchor.is_given_up(hearing, contract)
        case _:
            gone = False
    if gone:
        _resolve(hearing, msgspec.structs.replace(contract, ours=False))
    return gone


def _ask(hearing: Hearing, contract: Contract) -> bool:
    match contract.kind:
        case ContractKind.TO_LOCAL | ContractKind.TO_REMOTE | ContractKind.SECOND_LEVEL:
            return commit_output.act(hearing, contract)
        case ContractKind.OFFERED_HTLC:
            return outgoing_htlc.act(hearing, contract)
        case ContractKind.RECEIVED_HTLC:
            return incoming_htlc.act(hearing, contract)
        case (
            ContractKind.REVOKED_TO_LOCAL
            | ContractKind.REVOKED_HTLC
            | ContractKind.REVOKED_SECOND_LEVEL
        ):
            return breach.act(hearing, contract)
        case ContractKind.ANCHOR:
            return anchor.act(hearing, contract)
        case ContractKind.UNKNOWN_SPEND:
            return False
        case unreachable:
            assert_never(unreachable)


def renew(hearing: Hearing) -> None:
    """Other deadlines and budgets: ask anew for what waits to be swept."""
    for contract in hearing.case.contracts:
        if contract.stage is ContractStage.SWEEPING and contract.spend is None:
            _ask(hearing, contract)


def wanted_for(case: Case, contract: Contract) -> tuple[Effect, ...]:
    """What is wanted now for an unspent contract: the same as when it was first asked for."""
    hearing = Hearing(case)
    _ask(hearing, contract)
    return tuple(hearing.effects)


def _bury_or_wait(hearing: Hearing, contract: Contract) -> None:
    spend, policy = contract.spend, hearing.case.policy
    if spend is None:
        return
    if depth_of(spend.height, hearing.case.best_height) < policy.final_depth:
        hearing.wake_at(
            final_height(spend.height, policy.final_depth), f"{contract.kind.value} resolves"
        )
        return
    _resolve(hearing, contract)
    if contract.kind is ContractKind.OFFERED_HTLC:
        outgoing_htlc.resolve(hearing, contract)


def _resolve(hearing: Hearing, contract: Contract) -> None:
    """Nothing is left to win or lose here, and the node is told whose it is."""
    resolved = msgspec.structs.replace(contract, stage=ContractStage.RESOLVED)
    _put(hearing, resolved)
    telling.contract_resolved(hearing, resolved)


def _reconsider(hearing: Hearing, contract: Contract) -> None:
    """One that had expired, and whose preimage has come after all: claim it (L12)."""
    if contract.spend is not None or contract.kind is not ContractKind.RECEIVED_HTLC:
        return
    if contract.given_up or incoming_htlc.is_given_up(hearing, contract):
        return
    _put(hearing, msgspec.structs.replace(contract, stage=ContractStage.IMMATURE, ours=None))
    telling.contract_reopened(hearing, contract)
    machine.unresolve_if_open(hearing)
    _act(hearing, msgspec.structs.replace(contract, stage=ContractStage.IMMATURE, ours=None))


def _find(case: Case, outpoint: OutPoint) -> Contract | None:
    return next((c for c in case.contracts if c.outpoint == outpoint), None)


def _put(hearing: Hearing, changed: Contract) -> None:
    hearing.change(
        contracts=tuple(
            changed if c.outpoint == changed.outpoint else c for c in hearing.case.contracts
        )
    )
