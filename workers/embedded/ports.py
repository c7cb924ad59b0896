"""Ports for servers on loopback that two courts on one machine do not fight over."""

from __future__ import annotations

import random
import socket

from contractcourt.errors import ContractCourtError

# Below the range from which Linux gives ports to outgoing connections (32768 and up), so that
# no client takes a server's port while the server restarts.
_FIRST, _LAST = 20_000, 32_700
_TRIES = 200
_RANDOM = random.SystemRandom()


class NoFreePort(ContractCourtError):
    """No free TCP port was found on loopback; close some servers and try again."""


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on `host:port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


class Ports:
    """Hands out free ports on loopback, none of them twice."""

    def __init__(self) -> None:
        self._given: set[int] = set()

    def take(self, preferred: int | None = None) -> int:
        """A free port: `preferred` when it is free, else a random one.

        Another program may take it before our server does; whoever starts the server has to
        be ready to ask again. Raises NoFreePort.
        """
        if preferred and preferred not in self._given and is_free(preferred):
            self._given.add(preferred)
            return preferred
        for _ in range(_TRIES):
            port = _RANDOM.randint(_FIRST, _LAST)
            if port not in self._given and is_free(port):
                self._given.add(port)
                return port
        raise NoFreePort
