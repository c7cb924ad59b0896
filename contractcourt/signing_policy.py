"""The rules by which the signer judges a request, and our commitment, before it signs.

All of them are pure: they compare the request with itself and with the channel. A rule that is
not met raises SigningRefused and nothing is signed. Sweeps have rules of their own, in
`contractcourt.sweep_rules`.
"""

from __future__ import annotations

from collections.abc import Callable

from contractcourt.bitcoin.sighash import SIGHASH_ALL, segwit_v0
from contractcourt.bitcoin.transaction import MAX_MONEY_SAT, Transaction
from contractcourt.bolt3.commitment import build_commitment, funding_script, funding_script_pubkey
from contractcourt.bolt3.points import parse_point, verify
from contractcourt.channel import Channel, LocalCommitment, Side
from contractcourt.errors import LawError, MalformedTransaction
from contractcourt.signing import (
    RefusalReason,
    SigningInput,
    SigningRefused,
    SigningRequest,
)
from contractcourt.units import PublicKey, Script


def check_request(request: SigningRequest) -> Transaction:
    """The unsigned transaction, when the request's parts belong together.

    Raises:
        SigningRefused: UNSUPPORTED_CHANNEL_TYPE or MALFORMED_REQUEST.
        InvalidPoint: one of the peer's keys is no point.
    """
    for spent in request.inputs:
        if spent.channel is not None:
            _check_channel(request, spent.channel)
        elif spent.wallet_index is None:
            raise malformed(f"the input {spent.outpoint} is of no channel and of no wallet")
    try:
        tx = Transaction.parse(request.tx)
    except MalformedTransaction as error:
        raise malformed(f"tx: {error}") from None
    if any(i.script_sig or i.witness for i in tx.inputs):
        raise malformed("tx is signed already: send it without witness and scriptSig")
    outpoints = [spent.outpoint for spent in request.inputs]
    if outpoints != [i.outpoint for i in tx.inputs] or len(set(outpoints)) != len(outpoints):
        raise malformed("inputs are not those of tx, each once and in its order")
    if not tx.outputs or tx.version != 2:
        raise malformed("tx has no outputs or is not of version 2")
    amounts = [spent.value_sat for spent in request.inputs] + [o.value for o in tx.outputs]
    amounts += [channel.capacity_sat for channel in request.channels]
    if not all(0 <= amount <= MAX_MONEY_SAT for amount in amounts):
        raise malformed("an amount is below zero or beyond 21 million bitcoin")
    return tx


def _check_channel(request: SigningRequest, channel: Channel) -> None:
    if not channel.known_type:
        raise SigningRefused(
            RefusalReason.UNSUPPORTED_CHANNEL_TYPE,
            f"the law has no rules for channels of type {channel.channel_type}",
        )
    if channel.node != request.node:
        raise SigningRefused(
            RefusalReason.WRONG_NODE,
            f"channel {channel.channel_point} is of node {channel.node}, not {request.node}",
        )
    _check_peers_points(channel)


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
    commitment = request.commitment
    if commitment is None or len(request.inputs) != 1:
        raise malformed("a commitment request has one input and its commitment")
    channel = request.inputs[0].owner
    script = _check_funding(channel, request.inputs[0])
    _check_is_signed(channel, commitment, tx, script, own_point)
    return commitment, script


def check_bumped(request: SigningRequest, own_point: Callable[[int], PublicKey]) -> None:
    """The commitment that a bump pays for is ours, and the peer has signed it.

    Args:
        own_point: as for `check_commitment`.

    Raises:
        SigningRefused: MALFORMED_REQUEST, WRONG_COMMITMENT, BAD_REMOTE_SIGNATURE.
        MalformedTransaction: it is no transaction.
    """
    commitment = request.commitment
    if commitment is None or not request.channels:
        raise malformed("a bump spends an anchor and names its commitment")
    channel = request.channels[0]
    script = funding_script(channel)
    _check_is_signed(channel, commitment, Transaction.parse(commitment.tx), script, own_point)


def _check_is_signed(
    channel: Channel,
    commitment: LocalCommitment,
    tx: Transaction,
    script: Script,
    own_point: Callable[[int], PublicKey],
) -> None:
    """`tx` is what the commitment's numbers say, and the peer's signature is good for it."""
    if not is_number(commitment.number):
        raise malformed("the commitment's number is not of 48 bits")
    check_is_commitment(channel, commitment, tx, own_point(commitment.number))
    digest = segwit_v0(tx, 0, script, channel.capacity_sat, SIGHASH_ALL)
    if not verify(channel.funding_pubkey(Side.REMOTE), digest, commitment.remote_signature):
        raise SigningRefused(
            RefusalReason.BAD_REMOTE_SIGNATURE,
            f"the peer's signature of commitment {commitment.number} does not verify",
        )


def check_is_commitment(
    channel: Channel, commitment: LocalCommitment, tx: Transaction, own_point: PublicKey
) -> None:
    """Raise SigningRefused(WRONG_COMMITMENT) unless `tx` is our commitment as numbered (B2 to B9).

    The transaction is built anew from the request's own numbers, its own number (B2) among them;
    only the same txid will do.
    """
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
    script = funding_script(channel)
    if spent.contract is not None or spent.outpoint != channel.funding_outpoint:
        raise malformed("a commitment spends the funding output and no contract")
    if spent.value_sat != channel.capacity_sat:
        raise malformed("the funding output is worth the channel's capacity")
    if spent.script_pubkey != funding_script_pubkey(channel):
        raise SigningRefused(
            RefusalReason.WRONG_SCRIPT, "the funding output does not pay the 2-of-2 of this channel"
        )
    return script


def _check_peers_points(channel: Channel) -> None:
    side = channel.remote
    for point in (
        channel.funding_pubkey(Side.REMOTE),
        side.revocation_basepoint,
        side.payment_basepoint,
        side.delayed_payment_basepoint,
        side.htlc_basepoint,
    ):
        parse_point(point)


def malformed(detail: str) -> SigningRefused:
    """The refusal of a request that contradicts itself."""
    return SigningRefused(RefusalReason.MALFORMED_REQUEST, detail)
