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
    """A JSON object whose every field is known and of its exact type."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class SideData(Part):
    """What one side brought to the channel."""

    funding_pubkey: PointField
    revocation_basepoint: PointField
    payment_basepoint: PointField
    delayed_payment_basepoint: PointField
    htlc_basepoint: PointField
    to_self_delay: Annotated[int, Field(ge=1, le=65535)]
    dust_limit_sat: SatoshiField

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
    direction: DirectionField
    amount_msat: MillisatoshiField
    payment_hash: PaymentHashField
    cltv_expiry: ExpiryField
    remote_signature: SignatureField | None = None

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
    feerate_per_kw: FeerateField
    to_local_msat: MillisatoshiField
    to_remote_msat: MillisatoshiField
    htlcs: Annotated[tuple[HtlcData, ...], Field(max_length=_MOST_HTLCS)] = ()

    @model_validator(mode="after")
    def _each_htlc_once(self) -> Self:
        if len({(htlc.direction, htlc.id) for htlc in self.htlcs}) != len(self.htlcs):
            raise PydanticCustomError("htlc_twice", "htlcs: one htlc stands there twice")
        return self


class LocalCommitmentData(_CommitmentData):
    """Our commitment: `tx` signed by both, or unsigned together with `remote_signature`."""

    tx: TransactionField
    remote_signature: SignatureField | None = None
    per_commitment_point: PointField | None = None


class RemoteCommitmentData(_CommitmentData):
    """One of the peer's commitments."""

    per_commitment_point: PointField

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
    secret: SecretField

    def to_revoked(self) -> RevokedSecret:
        """The law's form."""
        return RevokedSecret(self.number, self.secret)
