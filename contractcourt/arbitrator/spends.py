"""What the spend of a contract says: by whom it was taken, and where it went on to."""

from __future__ import annotations

import msgspec

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3.commitment import offered_by_owner
from contractcourt.bolt3.htlc_spends import HtlcSpend, read_htlc_spend
from contractcourt.case import Case
from contractcourt.channel import Channel, Side
from contractcourt.contract import HTLC_OUTPUTS, Contract, ContractKind, ContractStage
from contractcourt.events import SpendConfirmed
from contractcourt.resolvers import anchor, second_level
from contractcourt.units import Blocks, Satoshi, Script

#: Outputs with a delayed branch of the commitment's owner and one for the revocation key.
_DELAYED_OUTPUTS = (
    ContractKind.TO_LOCAL,
    ContractKind.SECOND_LEVEL,
    ContractKind.REVOKED_TO_LOCAL,
    ContractKind.REVOKED_SECOND_LEVEL,
)
#: A signature, what OP_IF reads, and the script.
_DELAYED_ITEMS = 3


def is_ours(case: Case, contract: Contract, tx: Transaction) -> bool:
    """Our key took it: the branch of the script tells, wherever the money went."""
    if contract.kind is ContractKind.ANCHOR:
        return anchor.is_spent_by_us(contract, tx)
    if contract.kind is ContractKind.TO_REMOTE:
        return True  # Nobody else has its key.
    read = read_spend(contract, tx)
    by_owner = _by_delayed_branch(contract, tx) if read is None else read.by_owner
    if by_owner is not None:
        return by_owner == (contract.commitment_owner is Side.LOCAL)
    return all(o.script_pubkey == case.channel.sweep_script for o in tx.outputs)


def read_spend(contract: Contract, tx: Transaction) -> HtlcSpend | None:
    """How `tx` took the output of an HTLC; None for what is no such output on a commitment."""
    if contract.htlc is None or contract.kind not in HTLC_OUTPUTS:
        return None
    by_owner = offered_by_owner(contract.commitment_owner, contract.htlc)
    return read_htlc_spend(tx.witness_of(contract.outpoint), offered_by_owner=by_owner)


def _by_delayed_branch(contract: Contract, tx: Transaction) -> bool | None:
    """The owner took it after its delay, False by the revocation key; None where neither fits."""
    witness = tx.witness_of(contract.outpoint)
    if contract.kind not in _DELAYED_OUTPUTS or len(witness) != _DELAYED_ITEMS:
        return None
    return not any(witness[1])


def moved_output(
    channel: Channel, contract: Contract, tx: Transaction, event: SpendConfirmed
) -> Contract | None:
    """The delayed output of a second-level transaction: ours to sweep, or to punish."""
    kind, read = _kind_after_moving(contract), read_spend(contract, tx)
    if kind is None or (read is not None and not read.by_owner):
        return None
    index = second_level.delayed_output(channel, contract, tx)
    if index is None:
        return None
    delay = channel.remote.to_self_delay if kind is ContractKind.SECOND_LEVEL else Blocks(0)
    return msgspec.structs.replace(
        contract,
        outpoint=OutPoint.of(event.txid, index),
        kind=kind,
        value_sat=Satoshi(tx.outputs[index].value),
        script_pubkey=Script(tx.outputs[index].script_pubkey),
        csv_delay=delay,
        stage=ContractStage.IMMATURE,
        confirmed_height=event.height,
        spend=None,
        ours=None,
    )


def _kind_after_moving(contract: Contract) -> ContractKind | None:
    """What an HTLC output becomes for us when the commitment's owner moves it on.

    Nothing on the peer's own valid commitment: there it is the peer's money by then.
    """
    match contract.kind:
        case ContractKind.REVOKED_HTLC:
            return ContractKind.REVOKED_SECOND_LEVEL
        case ContractKind.OFFERED_HTLC | ContractKind.RECEIVED_HTLC:
            ours = contract.commitment_owner is Side.LOCAL
            return ContractKind.SECOND_LEVEL if ours else None
        case _:
            return None
