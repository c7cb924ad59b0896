"""A gateway on a free port, and a node that signs what it sends to it."""

from __future__ import annotations

import json
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx2
import uvicorn
from standardwebhooks import Webhook
from starlette.applications import Starlette

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC
from contractcourt.events import ChannelUpdate
from contractcourt.units import Script, Txid
from storage import node_secrets, nodes
from storage.database import Database
from tests.storage.examples import WEBHOOK_SEAL
from workers.gateway.wakeup import WakeUp
from workers.simulation.channel import SimulatedChannel
from workers.simulation.feed import opened_data, update_data

OPERATOR_TOKEN = "operator token of the tests"
VIEWER_TOKEN = "viewer token of the tests"

COUNTS = """
    SELECT (SELECT count(*) FROM docket), (SELECT count(*) FROM channels),
           (SELECT count(*) FROM webhook_receipts), (SELECT count(*) FROM outbox),
           (SELECT count(*) FROM force_closes)
"""


@contextmanager
def serving(app: Starlette, config: uvicorn.Config | None = None) -> Iterator[str]:
    """The URL of a real server over `app`."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config or uvicorn.Config(app, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@dataclass
class GatewayClient:
    """A node, an operator and an onlooker of one gateway."""

    url: str
    db: Database
    wakes: list[WakeUp]
    secrets: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.http = httpx2.Client(base_url=self.url, timeout=30)

    def add_node(self, name: str, *scripts: Script) -> None:
        """Register a node that may sweep to `scripts`."""
        with self.db.transaction() as conn:
            nodes.add_node(conn, name, list(scripts), None)
            self.secrets[name] = node_secrets.issue(conn, WEBHOOK_SEAL, name)

    def send(
        self, event_type: str, data: dict[str, Any], *, node: str = "alice", message_id: str = ""
    ) -> httpx2.Response:
        """A well-formed, well-signed webhook."""
        body = {"type": event_type, "timestamp": datetime.now(UTC).isoformat(), "data": data}
        return self.send_raw(json.dumps(body).encode(), node=node, message_id=message_id)

    def send_raw(
        self,
        body: bytes,
        *,
        node: str = "alice",
        message_id: str = "",
        signed_at: datetime | None = None,
        secret: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx2.Response:
        """Any bytes, signed by the node unless `headers` says otherwise."""
        message_id = message_id or f"msg_{uuid.uuid4().hex}"
        at = signed_at or datetime.now(UTC)
        if headers is None:
            key = secret or self.secrets[node]
            headers = {
                "webhook-id": message_id,
                "webhook-timestamp": str(int(at.timestamp())),
                "webhook-signature": Webhook(key).sign(message_id, at, body.decode("latin-1")),
            }
        return self.http.post(f"/v1/nodes/{node}/events", content=body, headers=headers)

    def open(self, sim: SimulatedChannel) -> dict[str, Any]:
        """Open a simulated channel; the answer."""
        response = self.send("channel.opened", opened_data(sim.channel), node=sim.node)
        assert response.status_code == 202, response.text
        return dict(response.json())

    def update(self, sim: SimulatedChannel, *steps: ChannelUpdate) -> httpx2.Response:
        """Tell steps of a channel in one webhook."""
        return self.send("channel.updated", updates_of(sim, *steps), node=sim.node)

    def counts(self) -> tuple[int, ...]:
        """How much is stored: docket entries, channels, receipts, effects, force closes."""
        with self.db.transaction() as conn:
            return conn.execute(COUNTS).fetchall()[0]

    def metric(self, line: str) -> float:
        """The value of one line of /metrics; 0 when it is not there."""
        for text in self.http.get("/metrics").text.splitlines():
            name, _, value = text.rpartition(" ")
            if name == line:
                return float(value)
        return 0.0

    def operator(self, path: str, **body: Any) -> httpx2.Response:
        """A POST as the operator."""
        headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
        return self.http.post(path, json=body, headers=headers)


def updates_of(sim: SimulatedChannel, *steps: ChannelUpdate) -> dict[str, Any]:
    """The data of a `channel.updated` with these steps."""
    return {
        "channel_point": str(sim.funding_outpoint),
        "updates": [update_data(step) for step in steps],
    }


def channel_of(
    seed: str = "gateway", channel_type: str = ANCHORS_ZERO_FEE_HTLC, node: str = "alice"
) -> SimulatedChannel:
    """A funded channel of `node` that nobody has opened here yet."""
    sim = SimulatedChannel(seed, channel_type=channel_type, node=node)
    digest = sim.ours.secret("funding")
    return sim.funded(OutPoint.of(Txid(bytes(digest)), 1))
