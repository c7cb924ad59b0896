"""The answers of the gateway, as OpenAPI shows them. Hashes and outpoints are in display form."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from storage.dead_letters import Replay
from workers.gateway.fields import ReasonField
from workers.gateway.problems import MEDIA_TYPE, ProblemDetails


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of the problems a route may answer with."""
    schema = {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}
    meanings = {
        400: "malformed",
        401: "not signed, or no token",
        403: "not allowed",
        404: "unknown",
        408: "too slow",
        409: "contradicts what is known",
        413: "too large",
        422: "wrong fields, or refused by the law",
        429: "too many; Retry-After says when",
        500: "the court failed; its log says why",
        503: "the database is away; try again",
    }
    return {
        status: {"description": meanings[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


class WebhookAccepted(BaseModel):
    """The message is committed, now or before.

    `channel_point` and `seq` are null for a preimage that no channel of the node waits for yet.
    """

    channel_point: str | None
    seq: int | None
    duplicate: bool


class ForceCloseRequest(BaseModel):
    """Why the operator wants the channel closed."""

    model_config = ConfigDict(strict=True, extra="forbid")

    reason: ReasonField = ""


class ForceCloseAnswer(BaseModel):
    """`accepted` starts a force close; `dropped` names the one that began before, or the close."""

    outcome: Literal["accepted", "dropped"]
    requested_at: str | None
    closing_txid: str | None


class ChannelSummary(BaseModel):
    """One channel in a list."""

    channel_point: str
    node: str
    capacity_sat: int
    state: str
    close_kind: str | None
    closing_txid: str | None
    closed_height: int | None
    fully_resolved_height: int | None
    created_at: datetime
    applied_seq: int
    last_seq: int


class ChannelList(BaseModel):
    """A page of channels; `next_after` is the `after` of the page that follows, if one does."""

    channels: list[ChannelSummary]
    next_after: int | None


class CloseView(BaseModel):
    """The transaction that spent the funding output."""

    kind: str
    txid: str
    tx: str
    height: int
    block_hash: str
    commitment_number: int | None


class ContractView(BaseModel):
    """An output that somebody may win. `ours` is null while nobody has."""

    outpoint: str
    kind: str
    value_sat: int
    stage: str
    confirmed_height: int
    csv_delay: int
    payment_hash: str | None
    cltv_expiry: int | None
    spend_txid: str | None
    spend_height: int | None
    ours: bool | None
    #: What has to happen next, in words.
    waits_for: str
    deadline: int | None
    feerate_per_kw: int | None
    sweep_state: str | None


class ForceCloseView(BaseModel):
    """The decision to publish our commitment."""

    requested_at: str
    requested_by: str
    reason: str
    commitment_number: int
    txid: str
    outcome: str | None


class BroadcastView(BaseModel):
    """A transaction of ours; `tx` may be given to any Bitcoin node by hand."""

    txid: str
    purpose: str
    tx: str
    state: str
    fee_sat: int | None
    feerate_per_kw: int | None
    attempts: int
    last_outcome: str | None
    last_reason: str | None
    last_attempt_at: datetime | None


class DeadlineView(BaseModel):
    """A height at which a case looks again, or by which a sweep should be mined, and the money
    that depends on it."""

    height: int
    channel_point: str
    reason: str
    value_at_risk_sat: int


class DeadlineList(BaseModel):
    """Deadlines, the nearest first."""

    deadlines: list[DeadlineView]


class AlarmView(BaseModel):
    """Something the operator should know."""

    kind: str
    message: str
    raised_at: datetime


class ChannelView(ChannelSummary):
    """One case: what is known, what is under way, what is at risk.

    `best_height` is the highest block that the case was told of; null while it was told of none.
    """

    channel_type: str
    funding_outpoint: str
    path: list[str]
    best_height: int | None
    local_commitment_number: int | None
    remote_commitment_numbers: list[int]
    close: CloseView | None
    force_close: ForceCloseView | None
    contracts: list[ContractView]
    broadcasts: list[BroadcastView]
    deadlines: list[DeadlineView]
    alarms: list[AlarmView]


class AccountLineView(BaseModel):
    """One output of the close: whose it is, who spent it, and what we paid for it."""

    outpoint: str
    kind: str | None
    value_sat: int
    winner: str
    won_sat: int
    txid: str | None
    height: int | None
    second_level_txid: str | None
    fee_sat: int


class PromiseView(BaseModel):
    """What our newest commitment says: our balance, and the HTLCs in flight each way."""

    balance_sat: int
    offered_sat: int
    received_sat: int


class AccountView(BaseModel):
    """Who won what of a channel. All parts and the closing fee add up to the capacity."""

    channel_point: str
    final: bool
    capacity_sat: int
    promise: PromiseView | None
    close_kind: str | None
    closing_txid: str | None
    closing_fee_sat: int
    won_sat: int
    lost_sat: int
    given_up_sat: int
    open_sat: int
    agreed_sat: int
    fees_sat: int
    net_sat: int
    lines: list[AccountLineView]


class NodeAccountView(BaseModel):
    """Sums over one page of a node's channels; with `next_after`, add up all pages.

    recovered + fees + lost + given up + open + agreed = at_commitment = capacity - closing fees.
    """

    node: str
    channels: int
    final: int
    capacity_sat: int
    closing_fee_sat: int
    at_commitment_sat: int
    recovered_sat: int
    fees_sat: int
    lost_sat: int
    given_up_sat: int
    open_sat: int
    agreed_sat: int
    next_after: int | None


class DocketEntryView(BaseModel):
    """One thing that happened. Preimages and revocation secrets are blanked in `event`."""

    seq: int
    type: str
    source: str
    idempotency_key: str
    created_at: datetime
    event: dict[str, Any]


class DocketPage(BaseModel):
    """Entries in order; `next_after` is the `after` of the page that follows, if one does."""

    channel_point: str
    entries: list[DocketEntryView]
    next_after: int | None


class DeadLetterView(BaseModel):
    """A webhook that its endpoint kept refusing. `message_id` is its `webhook-id`."""

    id: int
    message_id: str
    endpoint: str
    channel_point: str | None
    type: str
    attempts: int
    last_error: str
    created_at: datetime
    died_at: datetime
    replayed_at: datetime | None


class DeadLetterList(BaseModel):
    """Dead letters as written; `next_after` is the `after` of the next page, if there is one."""

    dead_letters: list[DeadLetterView]
    next_after: int | None


class ReplayAnswer(BaseModel):
    """`replayed` sends it again; `already_replayed`: somebody asked before."""

    id: int
    outcome: Literal[Replay.REPLAYED, Replay.ALREADY_REPLAYED]


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """The database answers and has the schema that this code knows."""

    status: Literal["ready"] = "ready"
    revision: str
