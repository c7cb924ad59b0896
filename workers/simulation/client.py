"""A court seen from outside: as its node, its operator and its miner see it.

The demo, the replay and the stories on the stack use it. It speaks only what any user can speak:
webhooks, HTTP, the chain's JSON-RPC, and read-only questions to Postgres about what is still due.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2
import psycopg
from standardwebhooks import Webhook

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.units import BlockHeight, Script
from storage import node_secrets, nodes, quiet
from storage.database import Database
from tasks.webhook_key import seal_under
from workers.errors import WorkerError
from workers.simulation import fee_wallet

#: A fee wallet for the anchors of as many channels.
_FEE_COINS, _FEE_COIN_SAT = 10, 100_000


class CourtTimeout(WorkerError):
    """The court did not come to rest in time."""


class CourtStopped(WorkerError):
    """Whoever waited for the court has been told to stop."""


class Refused(WorkerError):
    """The court refused a call; `status` and `problem` say why."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(f"{status}: {problem.get('title')}: {problem.get('detail')}")
        self.status = status
        self.problem = problem


@dataclass(frozen=True, slots=True)
class NodeAccount:
    """A node as the court knows it, and the secret it signs its webhooks with."""

    name: str
    secret: str


class CourtClient:
    """Talks to one court through the addresses of its `endpoints.json`, until it is `stopping`."""

    def __init__(self, endpoints: dict[str, str], stopping: threading.Event | None = None) -> None:
        self.endpoints = endpoints
        self._stopping = stopping or threading.Event()
        self._http = httpx2.Client(base_url=endpoints["gateway"], timeout=30)
        self._chain = httpx2.Client(timeout=60)
        self._signer = httpx2.Client(base_url=endpoints["signer"], timeout=30)
        self.db = Database(endpoints["postgres"], application_name="court-client")

    def close(self) -> None:
        """Let go of every connection."""
        self._http.close()
        self._chain.close()
        self._signer.close()
        self.db.close()

    # -- the operator --

    def add_node(
        self, name: str, sweep_script: bytes, webhook_url: str | None = None
    ) -> NodeAccount:
        """Register a node, as `contractcourt node add` does."""
        with self.db.transaction() as conn:
            nodes.add_node(conn, name, [Script(sweep_script)], webhook_url)
            secret = node_secrets.issue(conn, seal_under(self.endpoints["webhook_key"]), name)
        return NodeAccount(name, secret)

    def import_keys(self, document: dict[str, str]) -> None:
        """Hand the signer a channel's secrets, as `contractcourt keys import` does."""
        token = {"Authorization": f"Bearer {self.endpoints['signer_token']}"}
        self._answer(self._signer.post("/v1/keys", json=document, headers=token))

    def give_fee_wallet(self, node: str, coins: int, value_sat: int) -> None:
        """Import a fee wallet for a node and pay so many coins to it; one block confirms them."""
        self.import_keys({"node": node, "fee_wallet": fee_wallet.descriptor(node)})
        scripts = fee_wallet.scripts(node)
        outputs = [
            {"script_hex": scripts[i % len(scripts)].hex(), "amount_sat": value_sat}
            for i in range(coins)
        ]
        self.rpc("devnet_spend", outputs)
        self.mine(1)

    def force_close(self, channel_point: str, reason: str = "") -> dict[str, Any]:
        """Ask for a force close as the operator."""
        token = {"Authorization": f"Bearer {self.endpoints['operator_token']}"}
        path = f"/v1/channels/{channel_point}/force-close"
        return self._answer(self._http.post(path, json={"reason": reason}, headers=token))

    def channels(self) -> list[dict[str, Any]]:
        """The first channels of the list."""
        return list(self._answer(self._http.get("/v1/channels?limit=1000"))["channels"])

    def channel(self, channel_point: str) -> dict[str, Any]:
        """One case as the API shows it."""
        return self._answer(self._http.get(f"/v1/channels/{channel_point}"))

    def account(self, channel_point: str) -> dict[str, Any]:
        """Who won what of one channel."""
        return self._answer(self._http.get(f"/v1/channels/{channel_point}/account"))

    def docket(self, channel_point: str) -> dict[str, Any]:
        """Everything that happened to one channel."""
        return self._answer(self._http.get(f"/v1/channels/{channel_point}/docket?limit=500"))

    def notifications(self, channel_point: str, event_type: str) -> list[dict[str, Any]]:
        """What the court had to tell the node of this channel, in order."""
        with self.db.transaction() as conn:
            return quiet.told(conn, OutPoint.parse(channel_point), event_type)

    # -- the node --

    def webhook(
        self, node: NodeAccount, event_type: str, data: dict[str, Any], message_id: str = ""
    ) -> dict[str, Any]:
        """Send one signed webhook. Raises Refused with the problem when the court says no."""
        now = datetime.now(UTC)
        body = json.dumps({"type": event_type, "timestamp": now.isoformat(), "data": data})
        message_id = message_id or f"msg_{uuid.uuid4().hex}"
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(node.secret).sign(message_id, now, body),
        }
        return self._answer(
            self._http.post(f"/v1/nodes/{node.name}/events", content=body, headers=headers)
        )

    # -- the miner --

    def rpc(self, method: str, *params: Any) -> Any:
        """One JSON-RPC call to the chain. Raises Refused on an error answer."""
        call = {"jsonrpc": "1.0", "id": 1, "method": method, "params": list(params)}
        answer = self._chain.post(self.endpoints["bitcoind"], json=call).json()
        if answer.get("error"):
            raise Refused(500, {"title": method, "detail": answer["error"]["message"]})
        return answer["result"]

    def mine(self, count: int = 1, transactions: list[str] | None = None) -> None:
        """Mine blocks: the first with `transactions` alone, or with all of the mempool."""
        if transactions is None:
            self.rpc("devnet_mine", count)
        else:
            self.rpc("devnet_mine", 1, transactions, False)
            if count > 1:
                self.rpc("devnet_mine", count - 1)

    def height(self) -> int:
        """The chain's height."""
        return int(self.rpc("getblockcount"))

    def transactions_at(self, height: int) -> list[tuple[str, str]]:
        """(txid, hex) of every transaction of one block but the coinbase."""
        block = self.rpc("getblock", self.rpc("getblockhash", height), 1)
        return [(txid, self.rpc("getrawtransaction", txid)) for txid in block["tx"][1:]]

    def next_deadline(self) -> int | None:
        """The next height that some case waits for."""
        listed = self._answer(self._http.get("/v1/deadlines?limit=1"))
        heights = [deadline["height"] for deadline in listed["deadlines"]]
        return min(heights, default=None)

    # -- coming to rest --

    def wait_quiet(self, seconds: float = 30) -> None:
        """Wait until the watcher is at the tip and nothing waits to be applied or sent."""

        def rests() -> bool:
            with self.db.transaction() as conn:
                return quiet.at_rest(conn, BlockHeight(self.height()))

        self.wait_until(rests, "the court to come to rest", seconds)

    def wait_until(self, true: Callable[[], bool], what: str, seconds: float = 30) -> None:
        """Poll until `true()`.

        Raises:
            CourtTimeout: it never is; it names `what`.
            CourtStopped: somebody ended the waiting.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if true():
                    return
            except (psycopg.OperationalError, httpx2.TransportError):
                pass  # a part of the court restarts; that is what some stories are about
            if self._stopping.wait(0.05):
                raise CourtStopped
        raise CourtTimeout(f"waited {seconds:.0f} s in vain for {what}")

    @staticmethod
    def _answer(response: httpx2.Response) -> dict[str, Any]:
        body: dict[str, Any] = response.json() if response.content else {}
        if response.status_code >= 400:
            raise Refused(response.status_code, body)
        return body


class KnownNodes:
    """The nodes that were registered with one court, over all clients of it."""

    def __init__(self) -> None:
        self._accounts: dict[str, NodeAccount] = {}

    def account(
        self, client: CourtClient, name: str, sweep_script: bytes, webhook_url: str | None = None
    ) -> NodeAccount:
        """A node's; at the first time of asking it is registered and given a fee wallet."""
        if name not in self._accounts:
            self._accounts[name] = client.add_node(name, sweep_script, webhook_url)
            client.give_fee_wallet(name, _FEE_COINS, _FEE_COIN_SAT)
        return self._accounts[name]
