"""How long a connection may take to say what it wants: uvicorn itself would wait for ever."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: As long as a body may take (`limits`).
HEAD_SECONDS = 30.0


class PromptHeads(H11Protocol):
    """Ends a connection whose next request head is not there in time.

    Each one that says nothing, or a letter now and then, would hold a file descriptor until there
    are none left, and no webhook could be taken any more.
    """

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first head is waited for."""
        super().connection_made(transport)
        self._wait_for_a_head()

    def on_response_complete(self) -> None:
        """The next head is waited for, if there is one."""
        super().on_response_complete()
        self._wait_for_a_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for."""
        super().connection_lost(exc)
        self._stop_waiting()

    def _wait_for_a_head(self) -> None:
        self._stop_waiting()
        self._due = self.loop.call_later(HEAD_SECONDS, self._end_if_silent)

    def _stop_waiting(self) -> None:
        if self._due is not None:
            self._due.cancel()

    def _end_if_silent(self) -> None:
        # Any other state: its request is being read, or answered.
        if self.conn.their_state is h11.IDLE:
            self.transport.close()
