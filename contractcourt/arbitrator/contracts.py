"""The contracts of a confirmed commitment, made once from its outputs."""

from __future__ import annotations

from collections.abc import Sequence

from contractcourt.arbitrator.classification import Classified
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3.recognition import CommitmentOutput, OutputKind, recognise_outputs
from contractcourt.channel import Channel, Direction, Side
from contractcourt.contract import Contract, ContractKind, ContractStage
from contractcourt.effects import CloseKind
from contractcourt.units import BlockHeight, Blocks, Satoshi, Script


def recognised(
    channel: Channel, found: Classified, tx: Transaction
) -> tuple[CommitmentOutput, ...]:
    """The outputs of a commitment that are as they were told; none of what is no commitment."""
    if found.owner is None:
        return ()
    return recognise_outputs(channel, found.owner, found.per_commitment_point, tx, found.htlcs)


def build_contracts(
    channel: Channel,
    found: Classified,
    tx: Transaction,
    height: BlockHeight,
    outputs: Sequence[CommitmentOutput],
) -> tuple[Contract, ...]:
    """The contracts of a final close, in the order of the transaction's outputs.

    `outputs`: those that are `recognised`.

    A cooperative close leaves none: its outputs are plain wallet outputs (M2). An unknown spend
    leaves one that nobody but the operator can resolve, so that it is never forgotten.
    """
    if found.kind is CloseKind.COOPERATIVE:
        return ()
    if found.owner is None:
        return (_unknown_spend(tx, height),)
    contracts = [_contract(channel, found, tx, height, output) for output in outputs]
    known = {output.index for output in outputs}
    if found.kind is CloseKind.BREACH:
        contracts += [
            _revoked_output(found, tx, height, index)
            for index in range(len(tx.outputs))
            if index not in known
        ]
    return tuple(sorted((c for c in contracts if c is not None), key=lambda c: c.outpoint.vout))


def _contract(
    channel: Channel,
    found: Classified,
    tx: Transaction,
    height: BlockHeight,
    output: CommitmentOutput,
) -> Contract | None:
    kind = _kind_of(output, found.owner, breach=found.kind is CloseKind.BREACH)
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
        stage=ContractStage.IMMATURE,
        confirmed_height=height,
        htlc=output.htlc,
    )


def _kind_of(output: CommitmentOutput, owner: Side | None, *, breach: bool) -> ContractKind | None:
    """Which contract an output is for us; None when it is the peer's (L2, R1)."""
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
        case OutputKind.ANCHOR_LOCAL if ours:
            return ContractKind.ANCHOR
        case _:
            return None


def _csv_delay(channel: Channel, kind: ContractKind) -> Blocks:
    match kind:
        case ContractKind.TO_LOCAL:
            return channel.remote.to_self_delay
        case ContractKind.ANCHOR | ContractKind.REVOKED_TO_LOCAL | ContractKind.REVOKED_HTLC:
            # Our key's branch of an anchor and the revocation branches hold no delay.
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
        stage=ContractStage.IMMATURE,
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


def htlc_ids_with_output(contracts: tuple[Contract, ...]) -> frozenset[int]:
    """Ids of the offered HTLCs that have an output on the confirmed commitment."""
    return frozenset(
        c.htlc.id for c in contracts if c.htlc is not None and c.htlc.direction is Direction.OFFERED
    )
