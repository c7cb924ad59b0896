"""A channel as both sides agreed on it, and the commitments it has had since.

All amounts, directions and sides are seen from the node that asked the court: `local` is that
node, `offered` is an HTLC which that node offered, `to_local_msat` is that node's balance, on
the peer's commitment too (as lnd and LDK keep them).
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.record import Record
from contractcourt.units import (
    BlockHeight,
    Blocks,
    FeeratePerKw,
    HexBytes,
    Millisatoshi,
    PaymentHash,
    PublicKey,
    Satoshi,
    Script,
    Secret,
    Signature,
    Txid,
)


class Side(StrEnum):
    """One of the two parties, as the node that asked the court sees them."""

    LOCAL = "local"
    REMOTE = "remote"

    @property
    def other(self) -> Side:
        return Side.REMOTE if self is Side.LOCAL else Side.LOCAL


class Direction(StrEnum):
    """Who offered an HTLC: `offered` by our node, or `received` from the peer."""

    OFFERED = "offered"
    RECEIVED = "received"


STATIC_REMOTEKEY = "static_remotekey"
ANCHORS_ZERO_FEE_HTLC = "anchors_zero_fee_htlc"
#: Channel types whose commitments the law can build. Any other is watched, and any spend alarms.
KNOWN_CHANNEL_TYPES = frozenset({STATIC_REMOTEKEY, ANCHORS_ZERO_FEE_HTLC})


class ChannelSide(Record, frozen=True):
    """What one side brought to the channel (BOLT 2, open_channel and accept_channel).

    `to_self_delay` is what this side announced: the delay, in blocks, on the *other* side's
    outputs. `dust_limit_sat` holds for this side's own commitment.
    """

    funding_pubkey: PublicKey
    revocation_basepoint: PublicKey
    payment_basepoint: PublicKey
    delayed_payment_basepoint: PublicKey
    htlc_basepoint: PublicKey
    to_self_delay: Blocks
    dust_limit_sat: Satoshi


class FundingPubkeys(Record, frozen=True):
    """Both sides' keys in the 2-of-2 of one funding output; a splice may bring new ones (S2)."""

    local: PublicKey
    remote: PublicKey


class KeyRef(Record, frozen=True):
    """How the signer finds our secrets: `raw`, imported by channel point; or `lnd`, by index."""

    kind: str
    index: int | None = None


class Channel(Record, frozen=True):
    """The lasting facts of one channel.

    `channel_point` names it for ever; `funding_outpoint` moves when a splice replaces it.
    `funding_pubkeys` are those of the present funding, None while they are those of `local` and
    `remote`, with which it was opened.
    """

    channel_point: OutPoint
    node: str
    funding_outpoint: OutPoint
    capacity_sat: Satoshi
    channel_type: str
    opener: Side
    local: ChannelSide
    remote: ChannelSide
    sweep_script: Script
    key_ref: KeyRef
    funding_pubkeys: FundingPubkeys | None = None

    def funded_by(
        self,
        funding_outpoint: OutPoint,
        capacity_sat: Satoshi,
        funding_pubkeys: FundingPubkeys | None,
    ) -> Channel:
        """The same channel on another funding output; None are the keys that it was opened with."""
        return msgspec.structs.replace(
            self,
            funding_outpoint=funding_outpoint,
            capacity_sat=capacity_sat,
            funding_pubkeys=funding_pubkeys,
        )

    def funding_pubkey(self, side: Side) -> PublicKey:
        """That side's key in the present funding output, and in its anchors (B10)."""
        keys = self.funding_pubkeys
        if keys is None:
            return self.side(side).funding_pubkey
        return keys.local if side is Side.LOCAL else keys.remote

    @property
    def anchors(self) -> bool:
        return self.channel_type == ANCHORS_ZERO_FEE_HTLC

    @property
    def known_type(self) -> bool:
        return self.channel_type in KNOWN_CHANNEL_TYPES

    def side(self, side: Side) -> ChannelSide:
        return self.local if side is Side.LOCAL else self.remote


class Htlc(Record, frozen=True):
    """One HTLC of one commitment. `remote_signature` signs our second-level transaction."""

    id: int
    direction: Direction
    amount_msat: Millisatoshi
    payment_hash: PaymentHash
    cltv_expiry: BlockHeight
    remote_signature: Signature | None = None


class LocalCommitment(Record, frozen=True):
    """One of our own commitments: the transaction we may publish.

    `tx` is unsigned (no witness); `remote_signature` is the peer's, SIGHASH_ALL, verified.
    `per_commitment_point` is ours for `number`; None until the signer has told it.
    """

    number: int
    txid: Txid
    tx: HexBytes
    remote_signature: Signature
    feerate_per_kw: FeeratePerKw
    to_local_msat: Millisatoshi
    to_remote_msat: Millisatoshi
    htlcs: tuple[Htlc, ...] = ()
    per_commitment_point: PublicKey | None = None

    @property
    def spends(self) -> OutPoint:
        """The funding output that it spends: another one after a splice."""
        return Transaction.parse(self.tx).inputs[0].outpoint


class RemoteCommitment(Record, frozen=True):
    """One of the peer's commitments, which only the peer can publish."""

    number: int
    per_commitment_point: PublicKey
    feerate_per_kw: FeeratePerKw
    to_local_msat: Millisatoshi
    to_remote_msat: Millisatoshi
    htlcs: tuple[Htlc, ...] = ()


class RevokedSecret(Record, frozen=True):
    """The per-commitment secret by which the peer revoked its commitment `number`."""

    number: int
    secret: Secret
