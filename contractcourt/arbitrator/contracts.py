"""The contracts of a confirmed commitment: made once, then followed output by output.

A contract is judged by the chain's word on its outpoint. Whoever spends it resolves it, once
that spend is buried; a reorg of the spend opens it again.
"""

from __future__ import annotations

import msgspec

from contractcourt.arbitrator import machine
from contractcourt.arbitrator.classification import Classified
from contractcourt.arbitrator.depth import depth_of, final_height
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3.recognition import CommitmentOutput, OutputKind, recognise_outputs
from contractcourt.case import Case
from contractcourt.channel import Channel, Direction, Side
from contractcourt.contract import Contract, ContractKind, ContractStage, Spend
from contractcourt.effects import CloseKind, SweepOutput, WatchOutpoint
from contractcourt.events import SpendConfirmed
from contractcourt.units import BlockHeight, Blocks, Satoshi, Script

#: Contracts that this court resolves by itself; the others hold their case open.
_SWEPT = frozenset({ContractKind.TO_LOCAL, ContractKind.TO_REMOTE})


def build_contracts(
    channel: Channel, spend_kind: CloseKind, found: Classified, tx: Transaction, height: BlockHeight
) -> tuple[Contract, ...]:
    """The contracts of a final close, in the order of the transaction's outputs.

    A cooperative close leaves none: its outputs are plain wallet outputs (M2). An unknown spend
    leaves one that nobody but the operator can resolve, so that it is never forgotten.
    """
    if spend_kind is CloseKind.COOPERATIVE:
        return ()
    if found.owner is None:
        return (_unknown_spend(tx, height),)
    outputs = recognise_outputs(channel, found.owner, found.per_commitment_point, tx, found.htlcs)
    contracts = [_contract(channel, spend_kind, found, tx, height, o) for o in outputs]
    known = {output.index for output in outputs}
    if spend_kind is CloseKind.BREACH:
        contracts += [
            _revoked_output(found, tx, height, index)
            for index in range(len(tx.outputs))
            if index not in known
        ]
    return tuple(sorted((c for c in contracts if c is not None), key=lambda c: c.outpoint.vout))


def _contract(
    channel: Channel,
    spend_kind: CloseKind,
    found: Classified,
    tx: Transaction,
    height: BlockHeight,
    output: CommitmentOutput,
) -> Contract | None:
    kind = _kind_of(output, found.owner, breach=spend_kind is CloseKind.BREACH)
    if kind is None:
        return None
    return Contract(
        outpoint=OutPoint.of(tx.txid(), output.index),
        kind=kind,
        value_sat=output.value_sat,
        script_pubkey=output.script_pubkey,
        commitment_owner=found.owner or Side.REMOTE,
        commitment_number=found.number,
        per_commitment_point=found.per_commitment_point,
        csv_delay=_csv_delay(channel, kind),
        stage=ContractStage.IMMATURE if kind in _SWEPT else ContractStage.UNRESOLVED,
        confirmed_height=height,
        htlc=output.htlc,
    )


def _kind_of(output: CommitmentOutput, owner: Side | None, *, breach: bool) -> ContractKind | None:
    """Which contract an output is for us; None when it is the peer's (L2, R1) or an anchor."""
    ours = owner is Side.LOCAL
    match output.kind:
        case OutputKind.TO_LOCAL if ours:
            return ContractKind.TO_LOCAL
        case OutputKind.TO_LOCAL:
            return ContractKind.REVOKED_TO_LOCAL if breach else None
        case OutputKind.TO_REMOTE:
            return None if ours else ContractKind.TO_REMOTE
        case OutputKind.OFFERED_HTLC | OutputKind.RECEIVED_HTLC if breach:
            return ContractKind.REVOKED_HTLC
        case OutputKind.OFFERED_HTLC:
            return ContractKind.OFFERED_HTLC
        case OutputKind.RECEIVED_HTLC:
            return ContractKind.RECEIVED_HTLC
        case _:
            return None


def _csv_delay(channel: Channel, kind: ContractKind) -> Blocks:
    match kind:
        case ContractKind.TO_LOCAL:
            return channel.remote.to_self_delay
        case ContractKind.REVOKED_TO_LOCAL | ContractKind.REVOKED_HTLC:
            # The revocation branches hold no delay.
            return Blocks(0)
        case _:
            return Blocks(1) if channel.anchors else Blocks(0)


def _revoked_output(
    found: Classified, tx: Transaction, height: BlockHeight, index: int
) -> Contract:
    output = tx.outputs[index]
    return Contract(
        outpoint=OutPoint.of(tx.txid(), index),
        kind=ContractKind.REVOKED_HTLC,
        value_sat=Satoshi(output.value),
        script_pubkey=Script(output.script_pubkey),
        commitment_owner=Side.REMOTE,
        commitment_number=found.number,
        per_commitment_point=found.per_commitment_point,
        csv_delay=Blocks(0),
        stage=ContractStage.UNRESOLVED,
        confirmed_height=height,
    )


def _unknown_spend(tx: Transaction, height: BlockHeight) -> Contract:
    first = tx.outputs[0]
    return Contract(
        outpoint=OutPoint.of(tx.txid(), 0),
        kind=ContractKind.UNKNOWN_SPEND,
        value_sat=Satoshi(sum(output.value for output in tx.outputs)),
        script_pubkey=Script(first.script_pubkey),
        commitment_owner=Side.REMOTE,
        commitment_number=None,
        per_commitment_point=None,
        csv_delay=Blocks(0),
        stage=ContractStage.UNRESOLVED,
        confirmed_height=height,
    )


def launch(hearing: Hearing) -> None:
    """Watch every contract's outpoint; each is then followed by `progress`."""
    for contract in hearing.case.contracts:
        hearing.want(
            WatchOutpoint(contract.outpoint, contract.script_pubkey, contract.confirmed_height)
        )


def maturity_height(contract: Contract) -> BlockHeight:
    """The tip height from which a sweep of this contract fits the next block (BIP 68)."""
    return BlockHeight(contract.confirmed_height + max(contract.csv_delay - 1, 0))


def hear_spend(hearing: Hearing, event: SpendConfirmed) -> bool:
    """Take in a spend of a contract's outpoint. False when it is no contract of this case."""
    contract = _find(hearing.case, event.outpoint)
    if contract is None:
        return False
    spend = Spend(event.txid, event.height, event.block_hash)
    tx = Transaction.parse(event.tx)
    ours = all(o.script_pubkey == hearing.case.channel.sweep_script for o in tx.outputs)
    stage = ContractStage.SPENT if contract.kind in _SWEPT else contract.stage
    _put(hearing, msgspec.structs.replace(contract, spend=spend, ours=ours, stage=stage))
    return True


def hear_unspend(hearing: Hearing, outpoint: OutPoint) -> bool:
    """A reorg took a spend of a contract back. False when it is no contract of this case."""
    contract = _find(hearing.case, outpoint)
    if contract is None:
        return False
    if contract.spend is None:
        return True
    stage = ContractStage.IMMATURE if contract.kind in _SWEPT else ContractStage.UNRESOLVED
    _put(hearing, msgspec.structs.replace(contract, spend=None, ours=None, stage=stage))
    machine.unresolve(hearing)
    return True


def progress(hearing: Hearing) -> None:
    """Move every contract as far as the present height allows, then the case itself."""
    for contract in hearing.case.contracts:
        match contract.stage:
            case ContractStage.IMMATURE:
                _sweep_or_wait(hearing, contract)
            case ContractStage.SPENT:
                _bury_or_wait(hearing, contract)
            case ContractStage.SWEEPING | ContractStage.UNRESOLVED | ContractStage.RESOLVED:
                continue


def _sweep_or_wait(hearing: Hearing, contract: Contract) -> None:
    mature = maturity_height(contract)
    if hearing.case.best_height < mature:
        hearing.wake_at(mature, f"{contract.kind.value} matures", contract.value_sat)
        return
    sweeping = msgspec.structs.replace(contract, stage=ContractStage.SWEEPING)
    _put(hearing, sweeping)
    hearing.want(SweepOutput(sweeping, hearing.case.channel.sweep_script))


def _bury_or_wait(hearing: Hearing, contract: Contract) -> None:
    spend, policy = contract.spend, hearing.case.policy
    if spend is None:
        return
    if depth_of(spend.height, hearing.case.best_height) < policy.final_depth:
        hearing.wake_at(
            final_height(spend.height, policy.final_depth), f"{contract.kind.value} resolves"
        )
        return
    _put(hearing, msgspec.structs.replace(contract, stage=ContractStage.RESOLVED))


def _find(case: Case, outpoint: OutPoint) -> Contract | None:
    return next((c for c in case.contracts if c.outpoint == outpoint), None)


def _put(hearing: Hearing, changed: Contract) -> None:
    hearing.change(
        contracts=tuple(
            changed if c.outpoint == changed.outpoint else c for c in hearing.case.contracts
        )
    )


def htlc_ids_with_output(contracts: tuple[Contract, ...]) -> frozenset[int]:
    """Ids of the offered HTLCs that have an output on the confirmed commitment."""
    return frozenset(
        c.htlc.id for c in contracts if c.htlc is not None and c.htlc.direction is Direction.OFFERED
    )
