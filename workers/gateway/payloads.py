"""What a node may send, as the design's table of webhook events has it."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from contractcourt.channel import Channel, FundingPubkeys, KeyRef, Side
from contractcourt.events import FundingReplaced, PreimageLearned
from contractcourt.units import Satoshi
from workers.gateway.fields import (
    MAX_SAT,
    OutPointField,
    PaymentHashField,
    PointField,
    ReasonField,
    ScriptField,
    SecretField,
    TxidField,
)
from workers.gateway.parts import (
    LocalCommitmentData,
    Part,
    RemoteCommitmentData,
    RevokedSecretData,
    SideData,
)
from workers.gateway.problems import Problem
from workers.gateway.strict_json import shown_name

_MOST_CANDIDATES = 100
#: A refusal names this many fields at most.
_MOST_NAMED = 10
_LONGEST_REASON = 300


class RawKeyRef(Part):
    """The channel's secrets were imported by channel point."""

    kind: Literal["raw"]
    """Which form this is."""


class LndKeyRef(Part):
    """The secrets derive from the node's root key by lnd's key families."""

    kind: Literal["lnd"]
    """Which form this is."""
    index: Annotated[int, Field(ge=0, le=2**31 - 1)]
    """The channel's index in lnd's key families."""


class ChannelOpenedData(Part):
    """Data of `channel.opened`."""

    channel_point: OutPointField
    """The funding outpoint; the channel's name for ever, whatever replaces it."""
    capacity_sat: Annotated[int, Field(gt=0, le=MAX_SAT)]
    """Satoshi in the funding output."""
    channel_type: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
    """`static_remotekey` or `anchors_zero_fee_htlc`; any other is only watched."""
    opener: Literal["local", "remote"]
    """Who pays the commitment's fee: `local` is the node."""
    local: SideData
    """The node's side."""
    remote: SideData
    """The peer's side."""
    sweep_script: ScriptField
    """The scriptPubKey that everything won goes to; one that the node was registered with."""
    key_ref: Annotated[RawKeyRef | LndKeyRef, Field(discriminator="kind")]
    """How the signer finds the node's secrets of this channel."""

    def to_channel(self, node: str) -> Channel:
        """The channel as the law keeps it, asked for by `node`."""
        index = self.key_ref.index if isinstance(self.key_ref, LndKeyRef) else None
        return Channel(
            channel_point=self.channel_point,
            node=node,
            funding_outpoint=self.channel_point,
            capacity_sat=Satoshi(self.capacity_sat),
            channel_type=self.channel_type,
            opener=Side(self.opener),
            local=self.local.to_side(),
            remote=self.remote.to_side(),
            sweep_script=self.sweep_script,
            key_ref=KeyRef(self.key_ref.kind, index),
        )


class UpdateStep(Part):
    """One step of a channel: at least one of its parts."""

    local_commitment: LocalCommitmentData | None = None
    """The node's new commitment, once the peer has signed it."""
    remote_commitment: RemoteCommitmentData | None = None
    """The peer's commitment that is not revoked."""
    remote_pending_commitment: RemoteCommitmentData | None = None
    """The peer's next one: signed by the node, the one before not yet revoked."""
    revoked_secret: RevokedSecretData | None = None
    """By which the peer revoked its commitment before."""

    @property
    def empty(self) -> bool:
        """True when the step says nothing."""
        parts = (self.local_commitment, self.remote_commitment)
        rest = (self.remote_pending_commitment, self.revoked_secret)
        return all(part is None for part in parts + rest)


class ChannelUpdatedData(UpdateStep):
    """Data of `channel.updated`: the parts of one step, or many steps in `updates`."""

    channel_point: OutPointField
    """The channel."""
    updates: Annotated[tuple[UpdateStep, ...], Field(min_length=1)] | None = None
    """Many steps in their order, taken all or none, in place of the parts of one."""

    @model_validator(mode="after")
    def _one_form_or_the_other(self) -> Self:
        if self.updates is None and self.empty:
            raise PydanticCustomError(
                "nothing_updated",
                "send local_commitment, remote_commitment, remote_pending_commitment, "
                "revoked_secret, or a list of such steps in updates",
            )
        if self.updates is not None and not self.empty:
            raise PydanticCustomError(
                "two_forms", "send either updates or the parts of one step, not both"
            )
        if any(step.empty for step in self.updates or ()):
            raise PydanticCustomError("empty_step", "updates: a step has no part")
        return self

    @property
    def steps(self) -> tuple[UpdateStep, ...]:
        """The steps in their order."""
        if self.updates is not None:
            return self.updates
        return (self,)


class PreimageLearnedData(Part):
    """Data of `preimage.learned`. It concerns every channel with an HTLC of this hash."""

    payment_hash: PaymentHashField
    """SHA-256 of the preimage."""
    preimage: SecretField
    """What hashes to it."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if hashlib.sha256(self.preimage).digest() != bytes(self.payment_hash):
            raise PydanticCustomError(
                "preimage_mismatch", "the preimage does not hash to the payment_hash"
            )
        return self

    def to_event(self) -> PreimageLearned:
        """The law's form."""
        return PreimageLearned(self.payment_hash, self.preimage)


class ForceCloseRequestedData(Part):
    """Data of `force_close.requested`."""

    channel_point: OutPointField
    """The channel."""
    reason: ReasonField = ""
    """For the docket, and for people."""


class FundingReplacedData(Part):
    """Data of `channel.funding_replaced`: a spend by a candidate is not a close."""

    channel_point: OutPointField
    """The channel, by its first funding outpoint."""
    funding_outpoint: OutPointField | None = None
    """Of the new funding output; this or candidates, or both."""
    funding_txid_candidates: Annotated[
        tuple[TxidField, ...], Field(max_length=_MOST_CANDIDATES)
    ] = ()
    """Every transaction that may replace the funding: a spend by one is no close."""
    capacity_sat: Annotated[int, Field(gt=0, le=MAX_SAT)] | None = None
    """Satoshi in the new funding output; needed before commitments on it can be checked."""
    local_funding_pubkey: PointField | None = None
    """Ours in the new funding output, where it is not the one that the channel was opened with."""
    remote_funding_pubkey: PointField | None = None
    """The peer's, likewise; both or neither."""

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.funding_outpoint is None and not self.funding_txid_candidates:
            raise PydanticCustomError(
                "nothing_replaced", "send funding_outpoint or funding_txid_candidates, or both"
            )
        return self

    @model_validator(mode="after")
    def _has_both_keys_of_a_funding(self) -> Self:
        keys = (self.local_funding_pubkey, self.remote_funding_pubkey)
        if keys == (None, None):
            return self
        if None in keys or self.funding_outpoint is None:
            raise PydanticCustomError(
                "keys_incomplete",
                "send local_funding_pubkey and remote_funding_pubkey together, with the "
                "funding_outpoint that they are of",
            )
        return self

    def to_event(self) -> FundingReplaced:
        """The law's form."""
        capacity = None if self.capacity_sat is None else Satoshi(self.capacity_sat)
        pubkeys = None
        if self.local_funding_pubkey is not None and self.remote_funding_pubkey is not None:
            pubkeys = FundingPubkeys(self.local_funding_pubkey, self.remote_funding_pubkey)
        return FundingReplaced(
            self.funding_outpoint, self.funding_txid_candidates, capacity, pubkeys
        )


class _Webhook(BaseModel):
    # The envelope may grow fields that the court does not know; the data may not.
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    timestamp: datetime


class ChannelOpenedWebhook(_Webhook):
    """A channel to watch from now on."""

    type: Literal["channel.opened"]
    data: ChannelOpenedData


class ChannelUpdatedWebhook(_Webhook):
    """A channel moved on: the parts of one step, or `updates`, not both."""

    type: Literal["channel.updated"]
    data: ChannelUpdatedData


class PreimageLearnedWebhook(_Webhook):
    """The node learned a preimage; it concerns every channel of the node with such an HTLC.

    Sent before an HTLC is settled by it, off chain too: the peer's commitment holds it until the
    peer revokes.
    """

    type: Literal["preimage.learned"]
    data: PreimageLearnedData


class ForceCloseRequestedWebhook(_Webhook):
    """The node wants its commitment on chain. Only the first of a channel changes anything."""

    type: Literal["force_close.requested"]
    data: ForceCloseRequestedData


class FundingReplacedWebhook(_Webhook):
    """The channel is being spliced, or its funding replaced by fee."""

    type: Literal["channel.funding_replaced"]
    data: FundingReplacedData


WebhookBody = Annotated[
    ChannelOpenedWebhook
    | ChannelUpdatedWebhook
    | PreimageLearnedWebhook
    | ForceCloseRequestedWebhook
    | FundingReplacedWebhook,
    Field(discriminator="type"),
]

EVENT_TYPES = (
    "channel.opened",
    "channel.updated",
    "preimage.learned",
    "force_close.requested",
    "channel.funding_replaced",
)
_WEBHOOK: TypeAdapter[WebhookBody] = TypeAdapter(WebhookBody)


def parse_webhook(body: bytes) -> WebhookBody:
    """Read the body of a webhook.

    Raises:
        Problem: 400 when it is no JSON (or nested deeper than 200 levels), 422 naming each
            wrong field and what is wrong with it.
    """
    try:
        return _WEBHOOK.validate_json(body)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        raise _problem(details) from None


def _problem(details: list[ErrorDetails]) -> Problem:
    match details[0]["type"]:
        case "json_invalid":
            reason = details[0]["msg"].removeprefix("Invalid JSON: ")
            return Problem("malformed-json", f"the body is not JSON: {reason}")
        case "union_tag_invalid" if not details[0]["loc"]:
            return Problem("unknown-event-type", f"type: must be one of {', '.join(EVENT_TYPES)}")
        case "union_tag_not_found" if not details[0]["loc"]:
            return Problem("invalid-fields", "type: Field required")
        case "invalid_point" if len(details) == 1:
            return Problem("invalid-point", _line(details[0]))
        case _:
            lines = [_line(detail) for detail in details[:_MOST_NAMED]]
            more = len(details) - _MOST_NAMED
            return Problem(
                "invalid-fields", "; ".join([*lines, f"and {more} more"] if more > 0 else lines)
            )


def _line(detail: ErrorDetails) -> str:
    # The first step of a location is the event's type, which the sender knows.
    where = ".".join(shown_name(step) for step in detail["loc"][1:])
    reason = detail["msg"].removeprefix("Input ").removeprefix("Value error, ")
    return f"{where}: {reason[:_LONGEST_REASON]}" if where else reason[:_LONGEST_REASON]
