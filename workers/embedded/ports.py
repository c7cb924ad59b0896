"""Ports for servers on loopback that two courts on one machine do not fight over.

Between "this port is free" and the moment our server listens there, another court may come to
the same conclusion; worse, each would then take the other's server for its own. So a court first
reserves the port's number among courts, for as long as it lives, and then looks whether some
other program listens there.
"""

from __future__ import annotations

import fcntl
import random
import socket
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

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
    return not refusal(port, host)


def refusal(port: int, host: str = "127.0.0.1") -> str:
    """Why no server of ours could listen on `host:port` now, in the system's words; else empty."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


class Ports:
    """Hands out free ports on loopback, none of them twice, none that another court was given."""

    def __init__(self) -> None:
        self._reservations = ExitStack()
        self._given: set[int] = set()

    def take(self, preferred: int | None = None) -> int:
        """A free port: `preferred` when it is free, else a random one.

        A program that is no court may still take it before our server does; whoever starts the
        server has to be ready to ask again. Raises NoFreePort.
        """
        if preferred and self._try(preferred):
            return preferred
        for _ in range(_TRIES):
            port = _RANDOM.randint(_FIRST, _LAST)
            if self._try(port):
                return port
        raise NoFreePort

    def close(self) -> None:
        """Give all reservations back; they also end with the process, however it ends."""
        self._reservations.close()
        self._given.clear()

    def _try(self, port: int) -> bool:
        if port in self._given or not is_free(port) or not self._reserve(port):
            return False
        self._given.add(port)
        return True

    def _reserve(self, port: int) -> bool:
        if sys.platform == "linux":
            # An abstract name: seen by every user in our network namespace, like the port
            # itself, and gone with the process.
            holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                holder.bind(f"\0contractcourt/port/{port}")
            except OSError:
                holder.close()
                return False
            self._reservations.callback(holder.close)
            return True
        file = (Path(tempfile.gettempdir()) / f"contractcourt-port-{port}").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._reservations.callback(file.close)
        return True
