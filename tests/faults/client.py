"""A node, an operator and a miner who ask again, under the same name, until they are answered."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

import httpx2
import psycopg

from contractcourt.units import BlockHeight
from storage import quiet
from workers.simulation.client import CourtClient, CourtTimeout, NodeAccount, Refused

T = TypeVar("T")

_PAUSE_SECONDS = 0.1
_MOST_SECONDS = 240.0
_SERVER_ERROR = 500
_IN_ITS_CHAIN = "already in"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A webhook that the court answered with 202, and the place it named."""

    idempotency_key: str
    channel_point: str | None
    seq: int | None


class StubbornClient(CourtClient):
    """A client to whom a gateway, a database or a chain that is away is only a reason to wait.

    Args:
        while_waiting: called between two tries; starts what has died.
        careless: a random source by which webhooks are sent twice, and updates in any order.
    """

    def __init__(
        self,
        endpoints: dict[str, str],
        while_waiting: Callable[[], None],
        careless: Random | None = None,
    ) -> None:
        super().__init__(endpoints)
        self._while_waiting = while_waiting
        self._careless = careless
        self.accepted: list[Accepted] = []
        self.doubled = 0
        self.reordered = 0

    def webhook(
        self, node: NodeAccount, event_type: str, data: dict[str, Any], message_id: str = ""
    ) -> dict[str, Any]:
        """Until it is accepted or refused for good; a careless node's steps come in any order."""
        steps = data.get("updates", ())
        if self._careless is None or len(steps) < 2 or self._careless.random() < 0.5:
            return self._one(node, event_type, data, message_id)
        waiting = [{**data, "updates": [step]} for step in steps]
        self._careless.shuffle(waiting)
        self.reordered += 1
        return self._in_any_order(node, event_type, waiting)

    def _in_any_order(
        self, node: NodeAccount, event_type: str, waiting: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """What is refused because it comes too early is sent again after the others."""
        answer: dict[str, Any] = {}
        while waiting:
            refused = []
            for data in waiting:
                try:
                    answer = self._one(node, event_type, data)
                except Refused as early:
                    refused.append((data, early))
            if len(refused) == len(waiting):
                raise refused[0][1]
            waiting = [data for data, _ in refused]
        return answer

    def _one(
        self, node: NodeAccount, event_type: str, data: dict[str, Any], message_id: str = ""
    ) -> dict[str, Any]:
        message_id = message_id or f"msg_{uuid.uuid4().hex}"
        send = super().webhook
        answer = self._until(lambda: send(node, event_type, data, message_id))
        key = f"node:{node.name}:{message_id}"
        self.accepted.append(Accepted(key, answer["channel_point"], answer["seq"]))
        if self._careless is not None and self._careless.random() < 0.5:
            again = self._until(lambda: send(node, event_type, data, message_id))
            assert again["seq"] == answer["seq"], (again, answer)
            self.doubled += 1
        return answer

    def import_keys(self, document: dict[str, str]) -> None:
        """Until the signer has them."""
        send = super().import_keys
        self._until(lambda: send(document))

    def force_close(self, channel_point: str, reason: str = "") -> dict[str, Any]:
        """One request, asked under one idempotency key until it is answered."""
        headers = {
            "Authorization": f"Bearer {self.endpoints['operator_token']}",
            "Idempotency-Key": uuid.uuid4().hex,
        }
        path = f"/v1/channels/{channel_point}/force-close"
        return self._until(
            lambda: self._answer(self._http.post(path, json={"reason": reason}, headers=headers))
        )

    def channel(self, channel_point: str) -> dict[str, Any]:
        """One case, as soon as the gateway shows it."""
        ask = super().channel
        return self._until(lambda: ask(channel_point))

    def account(self, channel_point: str) -> dict[str, Any]:
        """One account, as soon as the gateway shows it."""
        ask = super().account
        return self._until(lambda: ask(channel_point))

    def next_deadline(self) -> int | None:
        """The next height that some case waits for."""
        ask = super().next_deadline
        return self._until(ask)

    def rpc(self, method: str, *params: Any) -> Any:
        """Past the faults that the node was told to have; a transaction it has is no error."""
        call = super().rpc
        give_up_at = time.monotonic() + _MOST_SECONDS
        while True:
            try:
                return call(method, *params)
            except (httpx2.TransportError, ValueError):
                pass
            except Refused as refused:
                if _IN_ITS_CHAIN in str(refused):
                    return None
                if "fault" not in str(refused):
                    raise
            if time.monotonic() > give_up_at:
                raise CourtTimeout(f"the chain never answered {method}")
            time.sleep(_PAUSE_SECONDS)

    def rpc_named(self, call: str, **params: Any) -> Any:
        """A call of the devnet's own, whose parameters go by name; it meets no fault."""
        body = {"jsonrpc": "1.0", "id": 1, "method": call, "params": params}
        answer = self._chain.post(self.endpoints["bitcoind"], json=body).json()
        assert answer["error"] is None, answer
        return answer["result"]

    def rpc_or_none(self, method: str, *params: Any) -> Any:
        """None where the node refuses."""
        with suppress(Refused):
            return self.rpc(method, *params)
        return None

    def is_quiet(self) -> bool:
        """At rest at this moment, as far as Postgres can be asked."""
        height = BlockHeight(self.height())
        try:
            with self.db.transaction() as conn:
                return quiet.at_rest(conn, height)
        except psycopg.Error:
            return False

    def wait_until(self, true: Callable[[], bool], what: str, seconds: float = 0) -> None:
        """Poll until `true()`, starting again whatever has died meanwhile."""

        def look() -> bool:
            self._while_waiting()
            return true()

        super().wait_until(look, what, max(seconds, _MOST_SECONDS))

    def _until(self, work: Callable[[], T]) -> T:
        give_up_at = time.monotonic() + _MOST_SECONDS
        while True:
            self._while_waiting()
            try:
                return work()
            except (httpx2.TransportError, psycopg.OperationalError) as error:
                last: Exception = error
            except Refused as refused:
                if refused.status < _SERVER_ERROR:
                    raise
                last = refused
            if time.monotonic() > give_up_at:
                raise CourtTimeout(f"never answered: {last!r}")
            time.sleep(_PAUSE_SECONDS)
