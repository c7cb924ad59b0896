"""The rules by which the signer judges how much of a sweep or a bump goes to the miners.

Pure, beside `contractcourt.sweep_rules`, which says where the rest may go.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3 import weights
from contractcourt.channel import LocalCommitment
from contractcourt.contract import Contract, ContractKind
from contractcourt.signing import (
    RefusalReason,
    SigningInput,
    SigningPurpose,
    SigningRefused,
    SigningRequest,
)
from contractcourt.units import Satoshi

#: What somebody else can take: losing it costs all of it, so its fee may too.
_DISPUTED = frozenset(
    {
        ContractKind.OFFERED_HTLC,
        ContractKind.RECEIVED_HTLC,
        ContractKind.REVOKED_TO_LOCAL,
        ContractKind.REVOKED_HTLC,
        ContractKind.REVOKED_SECOND_LEVEL,
    }
)


class FeePolicy(msgspec.Struct, frozen=True):
    """How much a transaction may give to the miners: all limits hold at once.

    Shares are of the value of its inputs (`max_share_percent`; of those that somebody else can
    take, `max_disputed_percent`), of a bump of what our commitment holds for us. The feerate is
    per virtual byte, of parent and child together for a bump.
    """

    max_share_percent: int = 50
    max_disputed_percent: int = 100
    max_bump_percent: int = 50
    max_feerate_sat_vb: int = 2_500


DEFAULT_FEE_POLICY = FeePolicy()


def check_fee(request: SigningRequest, tx: Transaction, policy: FeePolicy) -> None:
    """Raise SigningRefused(UNREASONABLE_FEE) when it pays more than is due for what it saves."""
    fee = sweep_fee(request.inputs, tx)
    if fee < 0:
        raise SigningRefused(
            RefusalReason.UNREASONABLE_FEE, f"the outputs are worth {-fee} sat more than the inputs"
        )
    most = _most(request, policy)
    if fee > most:
        raise SigningRefused(
            RefusalReason.UNREASONABLE_FEE,
            f"a fee of {fee} sat is more than the {most} sat allowed for what it saves",
        )


def _most(request: SigningRequest, policy: FeePolicy) -> int:
    """The most that may be paid, in satoshi, for what is saved."""
    if request.purpose is SigningPurpose.BUMP and request.commitment is not None:
        return held_for_us(request.commitment) * policy.max_bump_percent // 100
    return sum(
        spent.value_sat * _percent(spent.contract, policy) // 100
        for spent in request.inputs
        if spent.contract is not None
    )


def _percent(contract: Contract, policy: FeePolicy) -> int:
    disputed = contract.kind in _DISPUTED
    return policy.max_disputed_percent if disputed else policy.max_share_percent


def held_for_us(commitment: LocalCommitment) -> Satoshi:
    """What may be lost with our commitment: our balance and every HTLC, as far as it has them."""
    in_flight = sum(htlc.amount_msat for htlc in commitment.htlcs)
    told = (commitment.to_local_msat + in_flight) // 1000
    there = sum(output.value for output in Transaction.parse(commitment.tx).outputs)
    return Satoshi(min(told, there))


def check_feerate(request: SigningRequest, signed: Transaction, policy: FeePolicy) -> None:
    """Raise SigningRefused(UNREASONABLE_FEE) when the signed transaction pays beyond the rate."""
    fee = sweep_fee(request.inputs, signed)
    vsize = signed.vsize()
    if request.purpose is SigningPurpose.BUMP and request.commitment is not None:
        parent = Transaction.parse(request.commitment.tx).weight() + weights.FUNDING_WITNESS
        vsize += -(-parent // 4)
    if fee > policy.max_feerate_sat_vb * vsize:
        raise SigningRefused(
            RefusalReason.UNREASONABLE_FEE,
            f"{fee} sat for {vsize} vB is beyond {policy.max_feerate_sat_vb} sat/vB",
        )


def sweep_fee(inputs: Sequence[SigningInput], tx: Transaction) -> Satoshi:
    """What the transaction leaves to the miners; below zero when it cannot be valid."""
    return Satoshi(sum(spent.value_sat for spent in inputs) - sum(o.value for o in tx.outputs))
