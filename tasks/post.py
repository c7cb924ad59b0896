"""The post: one signed webhook to one endpoint, and what the endpoint made of it.

Signed by the Standard Webhooks scheme, with every secret that is valid, so that a node may change
its secret at any moment. Follows no redirect, asks no proxy, reads no body, and never takes longer
than `LONGEST_SECONDS`, however slowly the other side speaks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

import httpcore2
from standardwebhooks import Webhook

from chain.timed_network import TimedNetwork
from storage.letters import Letter
from tasks.destinations import Destination, DestinationRefused, GuardedNetwork, destination

#: Name resolution, connection, request and the head of the answer together.
LONGEST_SECONDS = 5.0
#: What a proxy says for an endpoint that is away, or one that is busy.
_AWAY_STATUSES = frozenset({429, 502, 503, 504})


class Fate(Enum):
    """What became of one letter."""

    TAKEN = "taken"
    #: The endpoint answered, and does not want it.
    REFUSED = "refused"
    #: Nobody answered.
    UNANSWERED = "unanswered"


@dataclass(frozen=True, slots=True)
class Answer:
    """`reason` says why it was not taken, in words without secrets."""

    fate: Fate
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """Where letters go and with what they are signed, the newest secret first."""

    name: str
    url: str
    secrets: tuple[str, ...]


class Post:
    """Sends letters; many threads may use one. Belongs to the process that made it."""

    def __init__(self, *, allow_private: bool, most_connections: int = 32) -> None:
        self._allow_private = allow_private
        self._network = TimedNetwork(GuardedNetwork(allow_private=allow_private))
        self._pool = httpcore2.ConnectionPool(
            max_connections=most_connections, keepalive_expiry=15, network_backend=self._network
        )

    def send(self, letter: Letter, to: Address, now: datetime) -> Answer:
        """Send it once. Never raises for what the other side does."""
        try:
            where = destination(to.url, allow_private=self._allow_private)
            self._network.begin(LONGEST_SECONDS)
            return self._send(where, _body(letter), letter, to.secrets, now)
        except DestinationRefused as refused:
            return Answer(Fate.UNANSWERED, str(refused))
        except (httpcore2.TimeoutException, httpcore2.NetworkError) as error:
            return Answer(Fate.UNANSWERED, _words(error))
        except (httpcore2.ProtocolError, httpcore2.UnsupportedProtocol) as error:
            return Answer(Fate.UNANSWERED, f"it does not speak HTTP: {_words(error)}")

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _send(
        self, to: Destination, body: str, letter: Letter, secrets: Sequence[str], now: datetime
    ) -> Answer:
        headers = [
            # httpcore2's own has an address of IPv6 without brackets, which servers refuse.
            ("host", urlsplit(to.url).netloc),
            ("content-type", "application/json"),
            ("user-agent", "contractcourt"),
            ("webhook-id", letter.message_id),
            ("webhook-timestamp", str(int(now.timestamp()))),
            ("webhook-signature", signature(secrets, letter.message_id, now, body)),
        ]
        limits = dict.fromkeys(("connect", "read", "write", "pool"), LONGEST_SECONDS)
        with self._pool.stream(
            "POST", to.url, headers=headers, content=body.encode(), extensions={"timeout": limits}
        ) as response:
            return _judge(response.status, _length(response.headers), response)


def signature(secrets: Sequence[str], message_id: str, now: datetime, body: str) -> str:
    """One signature of each secret, as the scheme foresees for a change of secrets."""
    return " ".join(Webhook(secret).sign(message_id, now, body) for secret in secrets)


def _body(letter: Letter) -> str:
    body: dict[str, Any] = {
        "type": letter.event_type,
        "timestamp": letter.created_at.isoformat(),
        "data": letter.data,
    }
    if letter.missing:
        body["missing"] = list(letter.missing)
    return json.dumps(body)


def _judge(status: int, length: int | None, response: httpcore2.Response) -> Answer:
    if length == 0:
        # An empty body read to its end leaves the connection open for the next letter.
        response.read()
    if 200 <= status < 300:
        return Answer(Fate.TAKEN)
    fate = Fate.UNANSWERED if status in _AWAY_STATUSES else Fate.REFUSED
    return Answer(fate, f"it answered {status}")


def _length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    for name, value in headers:
        if name.lower() == b"content-length" and value.isdigit():
            return int(value)
    return None


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
