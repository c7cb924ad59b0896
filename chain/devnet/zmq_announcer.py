"""Announces new tips over ZMQ as bitcoind's `zmqpubhashblock` does: a hint, never the truth."""

from __future__ import annotations

from typing import Any, Self

import zmq

from chain.devnet.chainstate import Block


class ZmqAnnouncer:
    """Publishes `hashblock`, the hash in display order and a counter for every connected block."""

    def __init__(self, address: str) -> None:
        self._context = zmq.Context()
        self._socket: Any = self._context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(address)
        self._count = 0

    def announce(self, block: Block) -> None:
        """Tell whoever listens; never waits."""
        number = self._count.to_bytes(4, "little")
        self._socket.send_multipart([b"hashblock", bytes(block.hash)[::-1], number])
        self._count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._context.term()
