"""A network for httpcore2 on which a whole request ends in time, however slow the other side is.

Its own timeouts are for one step each: whoever sends a byte now and then is waited for for ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from math import inf
from typing import Any

import httpcore2


class TimedNetwork(httpcore2.NetworkBackend):
    """Every step of a thread's request ends with the request's time.

    Args:
        bytes_a_second: what is read earns time at this rate, so that much may take longer.
    """

    def __init__(
        self, network: httpcore2.NetworkBackend | None = None, *, bytes_a_second: float = inf
    ) -> None:
        self._network = network or httpcore2.SyncBackend()
        self._bytes_a_second = bytes_a_second
        self._clock = _Clock()

    def begin(self, seconds: float, longest: float | None = None) -> None:
        """A request of this thread begins: so long it may take, `longest` with what it earns."""
        self._clock.begin(seconds, longest or seconds)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """As httpcore2 asks for it."""
        left = self._clock.left(timeout)
        stream = self._network.connect_tcp(host, port, left, local_address, socket_options)
        return _TimedStream(stream, self._clock, self._bytes_a_second)


class _Clock(threading.local):
    """Until when the request of this thread may take."""

    seconds = ends_at = latest = 0.0

    def begin(self, seconds: float, longest: float) -> None:
        self.seconds, now = seconds, time.monotonic()
        self.ends_at, self.latest = now + seconds, now + longest

    def earn(self, seconds: float) -> None:
        self.ends_at = min(self.ends_at + seconds, self.latest)

    def left(self, timeout: float | None) -> float:
        left = self.ends_at - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout(f"no answer within {self.seconds:.0f} s")
        return left if timeout is None else min(left, timeout)


class _TimedStream(httpcore2.NetworkStream):
    def __init__(
        self, stream: httpcore2.NetworkStream, clock: _Clock, bytes_a_second: float
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._bytes_a_second = bytes_a_second

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        read = self._stream.read(max_bytes, self._clock.left(timeout))
        self._clock.earn(len(read) / self._bytes_a_second)
        return read

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._clock.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        left = self._clock.left(timeout)
        stream = self._stream.start_tls(ssl_context, server_hostname, left)
        return _TimedStream(stream, self._clock, self._bytes_a_second)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
