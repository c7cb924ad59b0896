"""Our commitment as the node told it: every part has to fit every other, and the peer's signatures.

What does not fit raises a LawError: such a commitment, or an HTLC on it, could not be claimed from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from contractcourt.bitcoin.sighash import SIGHASH_ALL, segwit_v0
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3 import htlc as second_level
from contractcourt.bolt3 import points, weights
from contractcourt.bolt3.commitment import (
    BuiltCommitment,
    CommitmentOutput,
    build_commitment,
    check_numbers,
    funding_script,
)
from contractcourt.case import Case
from contractcourt.channel import Channel, Htlc, LocalCommitment, RemoteCommitment, Side
from contractcourt.errors import CommitmentMismatch, InvalidSignature


def checked(case: Case, commitment: LocalCommitment) -> LocalCommitment:
    """The same, its HTLCs in the order of their outputs. Raises a LawError where parts differ."""
    channel = case.channel
    check_commitment_numbers(channel, commitment)
    tx = Transaction.parse(commitment.tx)
    script = funding_script(channel)
    digest = segwit_v0(tx, 0, script, channel.capacity_sat, SIGHASH_ALL)
    if not points.verify(channel.funding_pubkey(Side.REMOTE), digest, commitment.remote_signature):
        raise InvalidSignature(
            "remote_signature does not verify over tx under the peer's funding_pubkey"
        )
    if commitment.per_commitment_point is None:
        return commitment
    built = build_commitment(
        channel,
        Side.LOCAL,
        commitment.number,
        commitment.per_commitment_point,
        commitment.feerate_per_kw,
        commitment.to_local_msat,
        commitment.to_remote_msat,
        commitment.htlcs,
    )
    if built.tx.txid() != commitment.txid:
        raise CommitmentMismatch(
            f"balances, htlcs, feerate and delays describe {built.tx.txid()}, "
            f"but tx is {commitment.txid}"
        )
    return _in_order(channel, commitment, built)


def _in_order(
    channel: Channel, commitment: LocalCommitment, built: BuiltCommitment
) -> LocalCommitment:
    """Each HTLC at the output that its signature is for: without it it can never be claimed.

    Parts of one payment may be alike in all but their ids. No rule says which of them comes first
    in the transaction, so that they may be told in any order.
    """
    alike: dict[tuple[object, ...], list[Htlc]] = defaultdict(list)
    for htlc in commitment.htlcs:
        alike[_likeness(htlc)].append(htlc)
    built_in, placed = [], []
    for output in built.outputs:
        if output.htlc is not None:
            candidates = alike[_likeness(output.htlc)]
            found = _signed_for(channel, commitment, built, output, candidates)
            candidates.remove(found)
            built_in.append(output.htlc)
            placed.append(found)
    if placed == built_in:
        return commitment
    trimmed = [htlc for left in alike.values() for htlc in left]
    return msgspec.structs.replace(commitment, htlcs=(*placed, *trimmed))


def _signed_for(
    channel: Channel,
    commitment: LocalCommitment,
    built: BuiltCommitment,
    output: CommitmentOutput,
    candidates: Sequence[Htlc],
) -> Htlc:
    """Which of these stands on `output`, by the peer's signature."""
    for htlc in candidates:
        if htlc.remote_signature is None:
            raise InvalidSignature(f"htlc {htlc.id} has an output but no remote_signature")
        here = replace(output, htlc=htlc)
        if second_level.verify_remote_signature(channel, built, here, commitment.feerate_per_kw):
            return htlc
    first = candidates[0]
    raise InvalidSignature(
        f"remote_signature of {first.direction.value} htlc {first.id} "
        "does not verify over its second-level transaction"
    )


def _likeness(htlc: Htlc) -> tuple[object, ...]:
    """What the rules order HTLCs by (B8)."""
    return htlc.direction, htlc.amount_msat // 1000, htlc.payment_hash, htlc.cltv_expiry


def check_commitment_numbers(
    channel: Channel, commitment: LocalCommitment | RemoteCommitment
) -> None:
    """Raise CommitmentMismatch for numbers that no commitment of this channel can have."""
    check_numbers(
        channel,
        commitment.number,
        commitment.feerate_per_kw,
        (commitment.to_local_msat, commitment.to_remote_msat),
        commitment.htlcs,
    )
    # In another unit, say: every HTLC would count as too small for an output, and be left to them.
    fee = weights.fee(commitment.feerate_per_kw, weights.commitment(0, anchors=channel.anchors))
    if fee > channel.capacity_sat:
        raise CommitmentMismatch(
            f"feerate_per_kw {commitment.feerate_per_kw} makes a fee of {fee} sat, "
            f"more than the channel's {channel.capacity_sat} sat"
        )
