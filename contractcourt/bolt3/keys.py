"""All public keys that stand on one commitment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from contractcourt.bolt3.derivation import derive_public_key, derive_revocation_public_key
from contractcourt.bolt3.points import parse_point
from contractcourt.channel import Channel, ChannelSide, Side
from contractcourt.units import PublicKey


@dataclass(frozen=True)
class CommitmentKeys:
    """The keys of one commitment; `owner` is the side whose commitment it is.

    Each is derived when it is first asked for: most commitments have no HTLC. Asking raises
    InvalidPoint when the point or the basepoint is none.
    """

    channel: Channel
    owner: Side
    per_commitment_point: PublicKey

    @cached_property
    def revocation(self) -> PublicKey:
        """The other side's, once the owner has revealed the commitment's secret (rule B6)."""
        return derive_revocation_public_key(
            self._other.revocation_basepoint, self.per_commitment_point
        )

    @cached_property
    def delayed(self) -> PublicKey:
        """The owner's, after its delay: to_local and the second-level outputs (rule B5)."""
        return self._derived(self._own.delayed_payment_basepoint)

    @cached_property
    def owner_htlc(self) -> PublicKey:
        """The owner's HTLC key (rule B5)."""
        return self._derived(self._own.htlc_basepoint)

    @cached_property
    def other_htlc(self) -> PublicKey:
        """The other side's HTLC key (rule B5)."""
        return self._derived(self._other.htlc_basepoint)

    @property
    def to_remote(self) -> PublicKey:
        """The other side's payment basepoint, which no commitment changes (static_remotekey)."""
        return self._other.payment_basepoint

    @property
    def _own(self) -> ChannelSide:
        return self.channel.side(self.owner)

    @property
    def _other(self) -> ChannelSide:
        return self.channel.side(self.owner.other)

    def _derived(self, basepoint: PublicKey) -> PublicKey:
        return derive_public_key(basepoint, self.per_commitment_point)


def commitment_keys(
    channel: Channel, owner: Side, per_commitment_point: PublicKey
) -> CommitmentKeys:
    """The keys of the commitment of `owner` at its `per_commitment_point`.

    Raises InvalidPoint when the point is none.
    """
    return CommitmentKeys(channel, owner, parse_point(per_commitment_point))
