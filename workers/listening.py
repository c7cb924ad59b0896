"""A server until a signal ends it; one that can't listen says so in an error of ours."""

from __future__ import annotations

import signal
from typing import NoReturn

import uvicorn

from workers.errors import WorkerError


class CannotListen(WorkerError):
    """Nothing can listen at this address: give another one, or end what listens there."""


def serve(server: uvicorn.Server) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        CannotListen: the address is taken, not this host's, or not allowed to this user.
    """
    # uvicorn raises the signal again after its own shutdown; what the caller closes still follows.
    signal.signal(signal.SIGTERM, _leave)
    try:
        server.run()
    except SystemExit as left:
        if server.started or not isinstance(left.__context__, OSError):
            raise
        # uvicorn has a code of its own for it, which says something else of a command here.
        host, port = server.config.host, server.config.port
        reason = str(left.__context__.strerror).rpartition(": ")[2]
        raise CannotListen(f"can't listen on {host}, port {port}: {reason}") from None


def _leave(*_: object) -> NoReturn:
    raise SystemExit(0)
