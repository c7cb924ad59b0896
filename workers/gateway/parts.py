"""The parts that a node's webhooks are made of: a channel's sides, HTLCs, commitments.

Shapes and ranges only. Whether a commitment fits its channel, a secret its point or a number its
predecessor is the law's to say. Unknown fields are refused: a misspelled `htlcs` must not become
a commitment without HTLCs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from contractcourt.channel import ChannelSide, Direction, Htlc, RemoteCommitment, RevokedSecret
from contractcourt.units import BlockHeight, Blocks, FeeratePerKw, Millisatoshi, Satoshi
from workers.gateway.fields import (
    CommitmentNumberField,
    ExpiryField,
    FeerateField,
    MillisatoshiField,
    PaymentHashField,
    PointField,
    SatoshiField,
    SecretField,
    SignatureField,
    TransactionField,
)

#: BOLT 2: at most 483 HTLCs of each side.
_MOST_HTLCS = 2 * 483

#: Nodes name directions by who sends; the court by who offered.
_DIRECTION_SYNONYMS = {"outgoing": "offered", "incoming": "received"}


def _direction(value: Any) -> Any:
    return _DIRECTION_SYNONYMS.get(value, value) if isinstance(value, str) else value


DirectionField = Annotated[Literal["offered", "received"], BeforeValidator(_direction)]


class Part(BaseModel):
    """A JSON object whose every field is known and of its exact type.

    What stands below a field is its meaning in the reference: docs/generate writes it from here.
    """

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", use_attribute_docstrings=True
    )


class SideData(Part):
    """What one side brought to the channel."""

    funding_pubkey: PointField
    """Its key in the 2-of-2 of the funding output."""
    revocation_basepoint: PointField
    """As it stood in `open_channel` or `accept_channel`."""
    payment_basepoint: PointField
    """As announced: this side's balance on the *other* side's commitment goes to it."""
    delayed_payment_basepoint: PointField
    """As announced: for the delayed outputs of this side's own commitment."""
    htlc_basepoint: PointField
    """As announced: for the HTLC outputs of both commitments."""
    to_self_delay: Annotated[int, Field(ge=1, le=65535)]
    """Blocks, as this side announced it: the delay of the *other* side's outputs."""
    dust_limit_sat: SatoshiField
    """Satoshi, for this side's own commitment."""

    def to_side(self) -> ChannelSide:
        """The law's form."""
        return ChannelSide(
            funding_pubkey=self.funding_pubkey,
            revocation_basepoint=self.revocation_basepoint,
            payment_basepoint=self.payment_basepoint,
            delayed_payment_basepoint=self.delayed_payment_basepoint,
            htlc_basepoint=self.htlc_basepoint,
            to_self_delay=Blocks(self.to_self_delay),
            dust_limit_sat=Satoshi(self.dust_limit_sat),
        )


class HtlcData(Part):
    """One HTLC of a commitment, seen from the node."""

    id: Annotated[int, Field(ge=0, le=2**64 - 1)]
    """Its number among the HTLCs that the same side offered."""
    direction: DirectionField
    """`offered` (or `outgoing`) by the node, or `received` (or `incoming`) from the peer."""
    amount_msat: MillisatoshiField
    """Millisatoshi."""
    payment_hash: PaymentHashField
    """SHA-256 of the preimage."""
    cltv_expiry: ExpiryField
    """The block height from which it may time out."""
    remote_signature: SignatureField | None = None
    """The peer's for our HTLC transaction, 64 bytes compact: needed on `local_commitment` where the
    HTLC has an output."""

    def to_htlc(self) -> Htlc:
        """The law's form."""
        return Htlc(
            id=self.id,
            direction=Direction(self.direction),
            amount_msat=Millisatoshi(self.amount_msat),
            payment_hash=self.payment_hash,
            cltv_expiry=BlockHeight(self.cltv_expiry),
            remote_signature=self.remote_signature,
        )


class _CommitmentData(Part):
    number: CommitmentNumberField
    """Counts from 0, as BOLT 3 does."""
    feerate_per_kw: FeerateField
    """Satoshi for 1000 units of weight."""
    to_local_msat: MillisatoshiField
    """The node's balance in millisatoshi, on the peer's commitment too."""
    to_remote_msat: MillisatoshiField
    """The peer's balance in millisatoshi, on the peer's commitment too."""
    htlcs: Annotated[tuple[HtlcData, ...], Field(max_length=_MOST_HTLCS)] = ()
    """Every HTLC of it, those too small for an output as well."""

    @model_validator(mode="after")
    def _each_htlc_once(self) -> Self:
        if len({(htlc.direction, htlc.id) for htlc in self.htlcs}) != len(self.htlcs):
            raise PydanticCustomError("htlc_twice", "htlcs: one htlc stands there twice")
        return self


class LocalCommitmentData(_CommitmentData):
    """Our commitment: `tx` signed by both, or unsigned together with `remote_signature`."""

    tx: TransactionField
    """The whole transaction: signed by both sides, or unsigned with `remote_signature`."""
    remote_signature: SignatureField | None = None
    """The peer's for `tx`, 64 bytes compact; needed when `tx` is unsigned."""
    per_commitment_point: PointField | None = None
    """May be left out: the court asks its signer."""


class RemoteCommitmentData(_CommitmentData):
    """One of the peer's commitments."""

    per_commitment_point: PointField
    """The peer's of this number."""

    def to_commitment(self) -> RemoteCommitment:
        """The law's form."""
        return RemoteCommitment(
            number=self.number,
            per_commitment_point=self.per_commitment_point,
            feerate_per_kw=FeeratePerKw(self.feerate_per_kw),
            to_local_msat=Millisatoshi(self.to_local_msat),
            to_remote_msat=Millisatoshi(self.to_remote_msat),
            htlcs=tuple(htlc.to_htlc() for htlc in self.htlcs),
        )


class RevokedSecretData(Part):
    """The per-commitment secret by which the peer revoked its commitment `number`."""

    number: CommitmentNumberField
    """Of the commitment that is revoked."""
    secret: SecretField
    """Its per-commitment secret, as `revoke_and_ack` brought it."""

    def to_revoked(self) -> RevokedSecret:
        """The law's form."""
        return RevokedSecret(self.number, self.secret)
