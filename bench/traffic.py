"""What busy nodes send: channels with real keys, whose every move is signed and revoked."""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import Direction
from contractcourt.events import ChannelOpened, ChannelUpdate, ChannelUpdated
from contractcourt.units import Txid
from storage import node_secrets, nodes
from storage.database import Connection, Database
from tasks import arbitration
from tasks.webhook_key import seal_under
from workers.simulation.channel import SimulatedChannel
from workers.simulation.feed import update_data

WEBHOOK_KEY = "the webhook key of the benches, of nothing else"
NODE = "busy"
_EXPIRY = 800_000


@dataclass(frozen=True, slots=True)
class SignedWebhook:
    """A webhook ready to be sent."""

    headers: dict[str, str]
    body: bytes


def channels(count: int) -> list[SimulatedChannel]:
    """So many funded channels of one node."""
    return [_funded(f"busy-{number}") for number in range(count)]


def _funded(seed: str) -> SimulatedChannel:
    sim = SimulatedChannel(seed, node=NODE)
    return sim.funded(OutPoint.of(Txid(bytes(sim.ours.secret("funding"))), 0))


def open_all(
    db: Database, sims: list[SimulatedChannel], webhook_key: str = WEBHOOK_KEY
) -> tuple[str, list[int]]:
    """Register the node and its channels with both first commitments; its secret, their ids."""

    def register(conn: Connection) -> str:
        nodes.add_node(conn, NODE, [sim.sweep_script for sim in sims[:1]], None)
        return node_secrets.issue(conn, seal_under(webhook_key), NODE)

    secret = db.run(register)
    ids = []
    for sim in sims:
        with db.transaction() as conn:
            opened = arbitration.open_channel(
                conn, ChannelOpened(sim.channel), idempotency_key="opened", source="node"
            )
            assert opened is not None
            first = ChannelUpdated((sim.first_update(),))
            arbitration.apply_at_the_door(
                conn, opened[0], first, idempotency_key="first", source="node"
            )
            ids.append(opened[0])
    return secret, ids


def moves(sim: SimulatedChannel, htlcs: int) -> Iterator[tuple[ChannelUpdate, ...]]:
    """One move after another, each with so many HTLCs: a commitment of each side, one revoked."""
    while True:
        number = sim.number + 1
        held = [
            sim.htlc(number * 100 + n, Direction.OFFERED, 2_000_000, _EXPIRY + n)
            for n in range(htlcs)
        ]
        yield sim.whole_move(1_000_000 if number % 2 else -1_000_000, *held)


def post(port: int, webhooks: Iterable[SignedWebhook]) -> Iterator[int]:
    """Send webhooks to a gateway, one after another; the status of each answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with closing(connection):
        for webhook in webhooks:
            path = f"/v1/nodes/{NODE}/events"
            connection.request("POST", path, webhook.body, webhook.headers)
            answer = connection.getresponse()
            answer.read()
            yield answer.status


def body(sim: SimulatedChannel, steps: Iterable[ChannelUpdate]) -> str:
    """`channel.updated` as the node would tell it; it tells our points, so no signer is asked."""
    data = {"channel_point": str(sim.funding_outpoint), "updates": [_told(s) for s in steps]}
    at = datetime.now(UTC).isoformat()
    return json.dumps(
        {"type": "channel.updated", "timestamp": at, "data": data}, separators=(",", ":")
    )


def signed(body: str, secret: str) -> SignedWebhook:
    """A webhook of its own, signed now."""
    at, message_id = datetime.now(UTC), f"msg_{uuid.uuid4().hex}"
    headers = {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body),
    }
    return SignedWebhook(headers, body.encode())


def _told(step: ChannelUpdate) -> dict[str, Any]:
    data = update_data(step)
    if step.local_commitment is not None:
        point = step.local_commitment.per_commitment_point
        data["local_commitment"]["per_commitment_point"] = str(point)
    return data
