"""A node, an operator and a miner who ask again, under the same name, until they are answered."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

import httpx2
import psycopg

from workers.simulation.client import CourtClient, CourtTimeout, NodeAccount, Refused

T = TypeVar("T")

_PAUSE_SECONDS = 0.1
_MOST_SECONDS = 180.0
_SERVER_ERROR = 500
_IN_ITS_CHAIN = "already in"


class StubbornClient(CourtClient):
    """A client to whom a gateway, a database or a chain that is away is only a reason to wait.

    Args:
        while_waiting: called between two tries; starts what has died.
        doubling: sends every other webhook twice, as this random source says.
    """

    def __init__(
        self,
        endpoints: dict[str, str],
        while_waiting: Callable[[], None],
        doubling: Random | None = None,
    ) -> None:
        super().__init__(endpoints)
        self._while_waiting = while_waiting
        self._doubling = doubling
        self.accepted = 0
        self.doubled = 0

    def webhook(
        self, node: NodeAccount, event_type: str, data: dict[str, Any], message_id: str = ""
    ) -> dict[str, Any]:
        """Until it is accepted or refused for good."""
        message_id = message_id or f"msg_{uuid.uuid4().hex}"
        send = super().webhook
        answer = self._until(lambda: send(node, event_type, data, message_id))
        self.accepted += 1
        if self._doubling is not None and self._doubling.random() < 0.5:
            again = self._until(lambda: send(node, event_type, data, message_id))
            assert again["duplicate"] or again["seq"] is None, again
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

    def wait_until(self, true: Callable[[], bool], what: str, seconds: float = 120) -> None:
        """Poll until `true()`, starting again whatever has died meanwhile."""

        def look() -> bool:
            self._while_waiting()
            return true()

        super().wait_until(look, what, max(seconds, 120))

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
