"""What each kind of webhook does to the docket, in the transaction of its caller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import Channel
from contractcourt.events import ChannelOpened, ChannelUpdated, Event
from contractcourt.units import Script
from storage import cases, channels, docket, force_close_entry, htlc_index, told_preimages
from storage.cases import StoredCase
from storage.channels import ChannelRow
from storage.database import Connection, Database
from storage.nodes import Node
from tasks import arbitration
from tasks.arbitration import Outcome
from workers.gateway import closing, updates
from workers.gateway.addresses import unknown_channel
from workers.gateway.court import Court
from workers.gateway.payloads import (
    ChannelOpenedWebhook,
    ChannelUpdatedWebhook,
    ForceCloseRequestedWebhook,
    FundingReplacedWebhook,
    PreimageLearnedWebhook,
    WebhookBody,
)
from workers.gateway.problems import Problem
from workers.gateway.wakeup import WakeUp


@dataclass(frozen=True, slots=True)
class Message:
    """A verified webhook of `node`, with all that had to be asked before a row is locked.

    `update` is what a `channel.updated` says to the law, of the case that `stood` then.
    """

    node: Node
    message_id: str
    webhook: WebhookBody
    stood: StoredCase | None = None
    update: ChannelUpdated | None = None

    @property
    def key(self) -> str:
        """The idempotency key on the dockets: message ids are each node's own."""
        return f"node:{self.node.name}:{self.message_id}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message stands on one channel's docket."""

    channel_id: int
    channel_point: OutPoint
    seq: int | None
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a message stands on the dockets that it concerns, and who is to be woken for it."""

    places: Sequence[Place]
    wake_up: WakeUp


def look(conn: Connection, node: Node, webhook: WebhookBody) -> StoredCase | None:
    """The case as it stands, where `prepare` needs it. Raises Problem 404."""
    if not isinstance(webhook, ChannelUpdatedWebhook):
        return None
    stood = cases.find(conn, node.name, webhook.data.channel_point)
    if stood is None:
        raise unknown_channel(str(webhook.data.channel_point))
    return stood


def prepare(
    court: Court, node: Node, message_id: str, webhook: WebhookBody, stood: StoredCase | None
) -> Message:
    """Check what needs no lock, and ask the signer. Raises Problem and LawError."""
    update = None
    match webhook:
        case ChannelOpenedWebhook():
            _check_sweep_script(node, webhook.data.sweep_script)
        case ChannelUpdatedWebhook():
            assert stood is not None
            update = updates.event_of(court, stood.case, webhook.data)
        case _:
            pass
    return Message(node, message_id, webhook, stood, update)


def remember(db: Database, message: Message) -> None:
    """Keep a preimage for HTLCs that are told after it; committed before `apply` asks for them.

    It is the node's word and true by its hash, so it may stay when the message comes to nothing.
    """
    if isinstance(message.webhook, PreimageLearnedWebhook):
        node, learned = message.node.name, message.webhook.data
        with db.transaction() as conn:
            told_preimages.remember(conn, node, learned.payment_hash, learned.preimage)


def apply(conn: Connection, message: Message, held: set[int]) -> Placed:
    """Put the message on the dockets it concerns and apply it; none for a preimage nobody holds.

    Nothing that others hold is to be written after it (`arbitration.ask_for_rounds`).

    Args:
        held: gets the channels whose cases it locks: what others wanted of these they leave to us.

    Raises:
        Problem: 404, 409: an unknown channel, or one that is open with other facts.
        LawError: the law refuses the content.
    """
    match message.webhook:
        case ChannelOpenedWebhook(data=opened):
            return _open(conn, message, opened.to_channel(message.node.name))
        case ChannelUpdatedWebhook(data=updated):
            assert message.stood is not None
            assert message.update is not None
            channel_id, point = message.stood.channel_id, updated.channel_point
            held.add(channel_id)
            return _placed(conn, [_hear(conn, message, channel_id, point, message.update)])
        case PreimageLearnedWebhook(data=learned):
            holders = htlc_index.channels_with(conn, message.node.name, learned.payment_hash)
            held.update(holders)
            # Before any docket: whoever has one of these cases may be at the docket of another.
            cases.hold(conn, list(holders))
            event = learned.to_event()
            shared = [_share(conn, message, one, holders[one], event) for one in holders]
            return _placed(conn, shared)
        case ForceCloseRequestedWebhook(data=wanted):
            row = _row(conn, message.node, wanted.channel_point)
            return _force_close(conn, message, row, wanted.reason)
        case FundingReplacedWebhook(data=replaced):
            row = _row(conn, message.node, replaced.channel_point)
            held.add(row.id)
            heard = _hear(conn, message, row.id, row.channel_point, replaced.to_event())
            return _placed(conn, [heard])
        case unreachable:
            assert_never(unreachable)


def _check_sweep_script(node: Node, script: Script) -> None:
    if script not in node.sweep_scripts:
        allowed = ", ".join(str(one) for one in node.sweep_scripts)
        raise Problem(
            "sweep-script-not-allowed",
            f"data.sweep_script: node {node.name} may sweep to {allowed}, as it was registered; "
            "the signer has pinned them, and no other one is ever added",
        )


def _row(conn: Connection, node: Node, point: OutPoint) -> ChannelRow:
    """The node's own channel; another node's looks as if it were not there."""
    row = channels.find(conn, point)
    if row is None or row.node != node.name:
        raise unknown_channel(str(point))
    return row


def _open(conn: Connection, message: Message, channel: Channel) -> Placed:
    opened = arbitration.open_channel(
        conn, ChannelOpened(channel), idempotency_key=message.key, source="node"
    )
    if opened is not None:
        channel_id, appended, outcome = opened
        place = Place(channel_id, channel.channel_point, appended.seq, appended.duplicate)
        return Placed([place], _wake_up(outcome))
    row = channels.find(conn, channel.channel_point)
    if row is not None and row.node != channel.node:
        raise Problem(
            "conflict",
            f"channel {channel.channel_point} is open already for its other end: "
            "a court sees one end of a channel, register this one with a court of its own",
        )
    if row is None or not _opened_as(conn, row, channel):
        raise Problem(
            "conflict",
            f"channel {channel.channel_point} is open already with other facts: "
            "compare them with GET /v1/channels/{channel_point}/docket",
        )
    return Placed([Place(row.id, row.channel_point, 1, True)], WakeUp())


def _opened_as(conn: Connection, row: ChannelRow, channel: Channel) -> bool:
    """Whether these facts opened it; once entry 1 is dropped, those that no splice changes."""
    first = docket.entries(conn, row.id, limit=1)
    if first and first[0].seq == 1:
        return first[0].event == ChannelOpened(channel)
    stored = cases.read(conn, row.id)
    return stored is not None and channel == stored.case.channel.funded_by(
        channel.funding_outpoint, channel.capacity_sat, None
    )


def _hear(
    conn: Connection, message: Message, channel_id: int, point: OutPoint, event: Event
) -> tuple[Place, Outcome]:
    appended, outcome = arbitration.apply_at_the_door(
        conn, channel_id, event, idempotency_key=message.key, source="node", seen=message.stood
    )
    return Place(channel_id, point, appended.seq, appended.duplicate), outcome


def _share(
    conn: Connection, message: Message, channel_id: int, point: OutPoint, event: Event
) -> tuple[Place, Outcome]:
    """`_hear` for one of many: where the case can't be advanced, its docket keeps the event.

    The preimage is what its hash says, so what a law refuses over it lies in that case.
    """
    try:
        with conn.transaction():
            return _hear(conn, message, channel_id, point, event)
    except arbitration.OF_A_CHANNEL as broken:
        if not arbitration.lies_in_a_channel(broken):
            raise
        appended = docket.append(
            conn, channel_id, event, idempotency_key=message.key, source="node"
        )
        place = Place(channel_id, point, appended.seq, appended.duplicate)
        return place, Outcome(woken={channel_id})


def _placed(conn: Connection, heard: Sequence[tuple[Place, Outcome]]) -> Placed:
    """What all of them heard, and the rounds asked for."""
    outcome = Outcome()
    for _, one in heard:
        outcome.add(one)
    arbitration.ask_for_rounds(conn, outcome)
    return Placed([place for place, _ in heard], _wake_up(outcome))


def _force_close(conn: Connection, message: Message, row: ChannelRow, reason: str) -> Placed:
    asked = closing.ask(
        conn,
        row,
        requested_by=f"node {message.node.name}",
        reason=reason,
        key=message.key,
        source="node",
    )
    # A dropped one stands where the first request stands.
    seq = asked.seq or force_close_entry.find(conn, row.id)
    dropped = asked.answer.outcome == "dropped"
    return Placed([Place(row.id, row.channel_point, seq, dropped)], asked.wake_up)


def _wake_up(outcome: Outcome) -> WakeUp:
    return WakeUp(
        effects=tuple(outcome.outbox),
        channels=tuple(sorted(outcome.woken)),
        nodes=tuple(sorted(outcome.sweeping)),
        urgent_effects=frozenset(outcome.urgent),
        urgent_nodes=tuple(sorted(outcome.urgent_sweeping)),
    )
