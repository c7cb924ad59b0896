"""News of blocks over ZMQ: a hint to look at once, never a fact.

A subscriber can miss messages, hear them late or hear nothing for days (users_ask B1), so what is
heard is only counted. Whoever waits here looks at the chain afterwards in any case.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol

import structlog

_log = structlog.get_logger()

_TOPIC = b"hashblock"
_MESSAGE_PARTS = 3
#: How soon a wait notices that it should end.
_SLICE_MILLISECONDS = 200


class Hints(Protocol):
    """Something to wait on between two looks at the chain."""

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Until there is news, `seconds` are over or `stop` is set."""

    def close(self) -> None:
        """Listen no longer."""


class NoHints:
    """Nobody tells: only the poll finds blocks."""

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Until `seconds` are over or `stop` is set."""
        stop.wait(seconds)

    def close(self) -> None:
        """Nothing to close."""


class ZmqHints:
    """Listens to a node's `-zmqpubhashblock`, `tcp://host:port`.

    `heard` counts the messages, and `missed` those that never came, by the gaps in their numbers.
    """

    def __init__(self, address: str) -> None:
        import zmq

        self.heard = self.missed = 0
        self._next: int | None = None
        self._nothing_more, self._at_once = zmq.Again, zmq.NOBLOCK
        self._context = zmq.Context()
        self._socket: Any = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        self._socket.connect(address)
        self._socket.subscribe(_TOPIC)

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Until a block is announced, `seconds` are over or `stop` is set."""
        left = int(seconds * 1000)
        while left > 0 and not stop.is_set():
            if self._socket.poll(min(left, _SLICE_MILLISECONDS)):
                self._hear_all()
                return
            left -= _SLICE_MILLISECONDS

    def _hear_all(self) -> None:
        """Take in everything that has come: one look at the chain answers all of it."""
        while True:
            try:
                parts = self._socket.recv_multipart(self._at_once)
            except self._nothing_more:
                return
            if len(parts) == _MESSAGE_PARTS:
                self._count(int.from_bytes(parts[2], "little"))

    def _count(self, number: int) -> None:
        if self._next is not None and number > self._next:
            self.missed += number - self._next
            _log.info("announcements of blocks were missed", missed=self.missed)
        self._next = number + 1
        self.heard += 1

    def close(self) -> None:
        """Listen no longer."""
        self._socket.close()
        self._context.term()


def hints(zmq_address: str | None) -> Hints:
    """What to wait on: ZMQ when the node announces blocks there, else nothing but time."""
    return NoHints() if zmq_address is None else ZmqHints(zmq_address)
