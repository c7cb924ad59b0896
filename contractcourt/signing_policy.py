"""The rules by which the signer judges a request, before and after it signs.

All of them are pure: they compare the request with itself, with the channel and with the scripts
that the node's owner allowed. A rule that is not met raises SigningRefused and nothing is signed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import msgspec

from contractcourt.bitcoin.script import multisig_2of2, p2wsh
from contractcourt.bitcoin.sighash import SIGHASH_ALL, segwit_v0
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3 import numbers
from contractcourt.bolt3.commitment import build_commitment
from contractcourt.bolt3.htlc import remote_sighash
from contractcourt.bolt3.points import parse_point, verify
from contractcourt.channel import Channel, ChannelSide, LocalCommitment, Side
from contractcourt.claims import Claim, claim_of
from contractcourt.errors import LawError, MalformedTransaction
from contractcourt.signing import (
    RefusalReason,
    SigningInput,
    SigningPurpose,
    SigningRefused,
    SigningRequest,
)
from contractcourt.units import PublicKey, Satoshi, Script

#: nLockTime below this is a height, from here on a time (BIP 65).
_LOCKTIME_IS_TIME = 500_000_000
#: nSequence with this bit carries no relative delay (BIP 68).
_NO_DELAY = 0x8000_0000
_FINAL = 0xFFFF_FFFF
#: All bitcoin that can ever be, in satoshi: no amount is larger.
_MAX_MONEY = 21_000_000 * 100_000_000


class FeePolicy(msgspec.Struct, frozen=True):
    """How much a sweep may give to the miners: both limits hold at once.

    `max_share_percent` of the value of all inputs, and `max_feerate_sat_vb` per virtual byte. The
    fee of an HTLC transaction that both sides signed is agreed between them and not counted.
    """

    max_share_percent: int = 50
    max_feerate_sat_vb: int = 2_500


DEFAULT_FEE_POLICY = FeePolicy()


def check_request(request: SigningRequest) -> Transaction:
    """The unsigned transaction, when the request's parts belong together.

    Raises:
        SigningRefused: UNSUPPORTED_CHANNEL_TYPE or MALFORMED_REQUEST.
        InvalidPoint: one of the peer's keys is no point.
    """
    if not request.channel.known_type:
        raise SigningRefused(
            RefusalReason.UNSUPPORTED_CHANNEL_TYPE,
            f"the law has no rules for channels of type {request.channel.channel_type}",
        )
    _check_points(request.channel.remote)
    try:
        tx = Transaction.parse(request.tx)
    except MalformedTransaction as error:
        raise _malformed(f"tx: {error}") from None
    if any(i.script_sig or i.witness for i in tx.inputs):
        raise _malformed("tx is signed already: send it without witness and scriptSig")
    outpoints = [spent.outpoint for spent in request.inputs]
    if outpoints != [i.outpoint for i in tx.inputs] or len(set(outpoints)) != len(outpoints):
        raise _malformed("inputs are not those of tx, each once and in its order")
    if not tx.outputs or tx.version != 2:
        raise _malformed("tx has no outputs or is not of version 2")
    amounts = [spent.value_sat for spent in request.inputs] + [o.value for o in tx.outputs]
    if not all(0 <= amount <= _MAX_MONEY for amount in amounts):
        raise _malformed("an amount is below zero or beyond 21 million bitcoin")
    return tx


def is_number(number: int) -> bool:
    """Whether a commitment can carry this number: 48 bits (BOLT 3)."""
    return 0 <= number < 2**48


def check_commitment(
    request: SigningRequest, tx: Transaction, own_point: Callable[[int], PublicKey]
) -> tuple[LocalCommitment, Script]:
    """The commitment and the 2-of-2 script to sign, when `tx` is what its own numbers say.

    Args:
        own_point: our per-commitment point of a number, from our seed.

    Raises:
        SigningRefused: MALFORMED_REQUEST, WRONG_SCRIPT, WRONG_COMMITMENT, BAD_REMOTE_SIGNATURE.
    """
    channel, commitment = request.channel, request.commitment
    if commitment is None or len(request.inputs) != 1 or not is_number(commitment.number):
        raise _malformed("a commitment request has one input and its commitment")
    script = _check_funding(channel, request.inputs[0])
    check_is_commitment(channel, commitment, tx, own_point(commitment.number))
    digest = segwit_v0(tx, 0, script, channel.capacity_sat, SIGHASH_ALL)
    if not verify(channel.remote.funding_pubkey, digest, commitment.remote_signature):
        raise SigningRefused(
            RefusalReason.BAD_REMOTE_SIGNATURE,
            f"the peer's signature of commitment {commitment.number} does not verify",
        )
    return commitment, script


def check_is_commitment(
    channel: Channel, commitment: LocalCommitment, tx: Transaction, own_point: PublicKey
) -> None:
    """Raise SigningRefused(WRONG_COMMITMENT) unless `tx` is our commitment as numbered (B2 to B9).

    The transaction is built anew from the request's own numbers; only the same txid will do.
    """
    opener, accepter = channel.side(channel.opener), channel.side(channel.opener.other)
    factor = numbers.obscuring_factor(opener.payment_basepoint, accepter.payment_basepoint)
    number = numbers.decode(tx.locktime, tx.inputs[0].sequence, factor)
    if number is None or number != commitment.number:
        raise SigningRefused(
            RefusalReason.WRONG_COMMITMENT,
            f"tx does not carry commitment number {commitment.number}",
        )
    try:
        built = build_commitment(
            channel,
            Side.LOCAL,
            commitment.number,
            own_point,
            commitment.feerate_per_kw,
            commitment.to_local_msat,
            commitment.to_remote_msat,
            commitment.htlcs,
        )
    except (LawError, ValueError, OverflowError) as error:
        raise SigningRefused(
            RefusalReason.WRONG_COMMITMENT, f"no commitment has these numbers: {error}"
        ) from None
    if built.tx.txid() != tx.txid():
        raise SigningRefused(
            RefusalReason.WRONG_COMMITMENT,
            f"commitment {commitment.number} built from these numbers is {built.tx.txid()}, "
            f"not {tx.txid()}",
        )


def _check_funding(channel: Channel, spent: SigningInput) -> Script:
    script = multisig_2of2(channel.local.funding_pubkey, channel.remote.funding_pubkey)
    if spent.contract is not None or spent.outpoint != channel.funding_outpoint:
        raise _malformed("a commitment spends the funding output and no contract")
    if spent.value_sat != channel.capacity_sat:
        raise _malformed("the funding output is worth the channel's capacity")
    if spent.script_pubkey != p2wsh(script):
        raise SigningRefused(
            RefusalReason.WRONG_SCRIPT, "the funding output does not pay the 2-of-2 of this channel"
        )
    return script


def check_sweep(
    request: SigningRequest, tx: Transaction, allowed: Collection[Script], policy: FeePolicy
) -> tuple[Claim, ...]:
    """The claim of every input, when the sweep keeps all the rules.

    Args:
        allowed: the scripts that the node's owner allowed, pinned by the signer.

    Raises:
        SigningRefused: any reason of `claim_of`; WRONG_TIMELOCK, FOREIGN_OUTPUT,
            UNREASONABLE_FEE, BAD_REMOTE_SIGNATURE, MALFORMED_REQUEST.
    """
    if request.purpose is not SigningPurpose.SWEEP or not request.inputs:
        raise _malformed("this is no sweep")
    for spent in request.inputs:
        _check_contract_is_spent(spent)
    claims = tuple(claim_of(request.channel, spent) for spent in request.inputs)
    _check_timelocks(tx, claims)
    _check_outputs(tx, claims, allowed)
    _check_second_levels(request, tx, claims)
    _check_share(request.inputs, tx, claims, policy)
    return claims


def _check_contract_is_spent(spent: SigningInput) -> None:
    contract = spent.contract
    if contract is None:
        raise SigningRefused(RefusalReason.WRONG_CONTRACT, "an input without a contract")
    if (contract.outpoint, contract.value_sat, contract.script_pubkey) != (
        spent.outpoint,
        spent.value_sat,
        spent.script_pubkey,
    ):
        raise _malformed(f"the contract of {spent.outpoint} is of another output")


def _check_timelocks(tx: Transaction, claims: Sequence[Claim]) -> None:
    """Each input meets its delay, and the transaction the latest expiry, as a height."""
    if tx.locktime >= _LOCKTIME_IS_TIME:
        raise SigningRefused(RefusalReason.WRONG_TIMELOCK, "nLockTime is a time, not a height")
    for claim, spending in zip(claims, tx.inputs, strict=True):
        sequence = spending.sequence
        if claim.sequence is None:
            fits = sequence <= 1 or sequence >= _NO_DELAY
        else:
            fits = sequence == claim.sequence
        if not fits:
            raise SigningRefused(
                RefusalReason.WRONG_TIMELOCK,
                f"nSequence {sequence} of a {claim.path} is not {claim.sequence or 0}",
            )
        needs_expiry = claim.earliest_locktime > 0
        if needs_expiry and (tx.locktime < claim.earliest_locktime or sequence == _FINAL):
            raise SigningRefused(
                RefusalReason.WRONG_TIMELOCK,
                f"a {claim.path} needs nLockTime {claim.earliest_locktime} and no final nSequence",
            )


def _check_outputs(tx: Transaction, claims: Sequence[Claim], allowed: Collection[Script]) -> None:
    """A second-level output stands at its input's index (rule H4); all else pays the node."""
    for index, claim in enumerate(claims):
        if claim.second_level is None:
            continue
        if index >= len(tx.outputs) or tx.outputs[index].script_pubkey != claim.second_level:
            raise SigningRefused(
                RefusalReason.FOREIGN_OUTPUT,
                f"output {index} is not the delayed output of the {claim.path} at that index",
            )
    for index, output in enumerate(tx.outputs):
        second_level = index < len(claims) and claims[index].second_level is not None
        if not second_level and output.script_pubkey not in allowed:
            raise SigningRefused(
                RefusalReason.FOREIGN_OUTPUT,
                f"output {index} pays {Script(output.script_pubkey)}, which is none of the node's "
                "sweep scripts",
            )


def _check_second_levels(request: SigningRequest, tx: Transaction, claims: Sequence[Claim]) -> None:
    """The peer's signature covers what it has to on every HTLC transaction of ours (H2, H3)."""
    channel = request.channel
    for index, (claim, spent) in enumerate(zip(claims, request.inputs, strict=True)):
        if claim.second_level is None:
            continue
        htlc = spent.contract.htlc if spent.contract else None
        signature = htlc.remote_signature if htlc else None
        digest = segwit_v0(tx, index, claim.script_code, spent.value_sat, remote_sighash(channel))
        remote_key = claim.other_key
        if signature is None or remote_key is None or not verify(remote_key, digest, signature):
            raise SigningRefused(
                RefusalReason.BAD_REMOTE_SIGNATURE,
                f"the peer's signature of the {claim.path} of {spent.outpoint} does not verify",
            )


def _check_share(
    inputs: Sequence[SigningInput], tx: Transaction, claims: Sequence[Claim], policy: FeePolicy
) -> None:
    total_in, fee = sum(spent.value_sat for spent in inputs), sweep_fee(inputs, tx)
    agreed = sum(
        inputs[index].value_sat - tx.outputs[index].value
        for index, claim in enumerate(claims)
        if claim.second_level is not None
    )
    if fee < 0:
        raise SigningRefused(
            RefusalReason.UNREASONABLE_FEE, f"the outputs are worth {-fee} sat more than the inputs"
        )
    if (fee - agreed) * 100 > total_in * policy.max_share_percent:
        raise SigningRefused(
            RefusalReason.UNREASONABLE_FEE,
            f"a fee of {fee} sat is more than {policy.max_share_percent} % of {total_in} sat",
        )


def check_feerate(inputs: Sequence[SigningInput], signed: Transaction, policy: FeePolicy) -> None:
    """Raise SigningRefused(UNREASONABLE_FEE) when the signed sweep pays beyond the feerate."""
    fee = sweep_fee(inputs, signed)
    if fee > policy.max_feerate_sat_vb * signed.vsize():
        raise SigningRefused(
            RefusalReason.UNREASONABLE_FEE,
            f"{fee} sat for {signed.vsize()} vB is beyond {policy.max_feerate_sat_vb} sat/vB",
        )


def sweep_fee(inputs: Sequence[SigningInput], tx: Transaction) -> Satoshi:
    """What the sweep leaves to the miners; below zero when it cannot be valid."""
    return Satoshi(sum(spent.value_sat for spent in inputs) - sum(o.value for o in tx.outputs))


def _check_points(side: ChannelSide) -> None:
    for point in (
        side.funding_pubkey,
        side.revocation_basepoint,
        side.payment_basepoint,
        side.delayed_payment_basepoint,
        side.htlc_basepoint,
    ):
        parse_point(point)


def _malformed(detail: str) -> SigningRefused:
    return SigningRefused(RefusalReason.MALFORMED_REQUEST, detail)
