"""All public keys that stand on one commitment."""

from __future__ import annotations

from dataclasses import dataclass

from contractcourt.bolt3.derivation import derive_public_key, derive_revocation_public_key
from contractcourt.channel import Channel, Side
from contractcourt.units import PublicKey


@dataclass(frozen=True, slots=True)
class CommitmentKeys:
    """The keys of one commitment; `owner` is the side whose commitment it is."""

    owner: Side
    per_commitment_point: PublicKey
    #: The other side's, once the owner has revealed the commitment's secret.
    revocation: PublicKey
    #: The owner's, after its delay: to_local and the second-level outputs.
    delayed: PublicKey
    owner_htlc: PublicKey
    other_htlc: PublicKey
    #: The other side's payment basepoint, which no commitment changes (static_remotekey).
    to_remote: PublicKey


def commitment_keys(
    channel: Channel, owner: Side, per_commitment_point: PublicKey
) -> CommitmentKeys:
    """The keys of the commitment of `owner` at its `per_commitment_point` (rules B5 and B6).

    Raises InvalidPoint when the point or a basepoint of the channel is none.
    """
    own, other = channel.side(owner), channel.side(owner.other)
    return CommitmentKeys(
        owner=owner,
        per_commitment_point=per_commitment_point,
        revocation=derive_revocation_public_key(other.revocation_basepoint, per_commitment_point),
        delayed=derive_public_key(own.delayed_payment_basepoint, per_commitment_point),
        owner_htlc=derive_public_key(own.htlc_basepoint, per_commitment_point),
        other_htlc=derive_public_key(other.htlc_basepoint, per_commitment_point),
        to_remote=other.payment_basepoint,
    )
