"""How long a connection may take to say what it wants, and to take what it is answered, and how
many may be at it: uvicorn itself would wait for ever, for any number.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from workers.gateway.problems import Problem, problem_response

#: As long as a body may take (`limits`).
HEAD_SECONDS = 30.0
#: So many may be at their requests at once; many a host lets a process open a thousand files.
MOST_SPEAKING = 500
_SPEAKING = frozenset({h11.IDLE, h11.SEND_BODY})
#: In so long so much of what waits for a connection has to be taken, or all of it if it is less.
TAKING_SECONDS = 30.0
TAKEN_BYTES = 262_144


class PromptHeads(H11Protocol):
    """Ends a connection whose next request head is not there in time, or that hardly reads.

    Each one that says nothing, or a letter now and then, or asks and never reads, would hold a file
    descriptor until there are none left, and no webhook could be taken any more. One that reads a
    little now and then would hold the rest of its answer too.
    """

    _due: asyncio.TimerHandle | None = None
    _waits_since = 0.0
    _next_look: asyncio.TimerHandle | None = None
    #: Bytes of answers that waited to be taken at the last look.
    _untaken = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first head is waited for."""
        super().connection_made(transport)
        self._wait_for_a_head()
        self._make_room()
        self._look_whether_it_takes()

    def on_response_complete(self) -> None:
        """The next head is waited for, if there is one."""
        super().on_response_complete()
        self._wait_for_a_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for."""
        super().connection_lost(exc)
        self._stop_waiting()
        if self._next_look is not None:
            self._next_look.cancel()

    def resume_writing(self) -> None:
        """Nearly all that waited is taken; what waits at the next look is new."""
        super().resume_writing()
        self._untaken = 0

    def send_400_response(self, msg: str) -> None:
        """A problem as any other refusal is; uvicorn says it in plain text."""
        words = f"{msg} It has to be HTTP/1.1, with a Host and a body as its head says."
        answer = problem_response(Problem("malformed-request", words), {"path": "/"})
        headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        headers.append((b"connection", b"close"))
        head = h11.Response(status_code=answer.status_code, headers=headers, reason=b"Bad Request")
        for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _wait_for_a_head(self) -> None:
        self._stop_waiting()
        self._waits_since = self.loop.time()
        self._due = self.loop.call_later(HEAD_SECONDS, self._end_if_silent)

    def _stop_waiting(self) -> None:
        if self._due is not None:
            self._due.cancel()

    def _end_if_silent(self) -> None:
        # Any other state: its request is being read, or answered.
        if self.conn.their_state is h11.IDLE:
            self.transport.close()

    @property
    def _speaks(self) -> bool:
        """Its request, head or body, is not all here."""
        return self.conn.their_state in _SPEAKING and not self.transport.is_closing()

    def _make_room(self) -> None:
        """Whoever is slowest to ask leaves: a crowd of silent ones shuts out nobody but itself."""
        if len(self.connections) <= MOST_SPEAKING:
            return
        speaking = [one for one in self.connections if isinstance(one, PromptHeads) and one._speaks]
        if len(speaking) > MOST_SPEAKING:
            min(speaking, key=lambda one: one._waits_since).transport.abort()

    def _look_whether_it_takes(self) -> None:
        untaken = self.transport.get_write_buffer_size()
        if untaken > max(0, self._untaken - TAKEN_BYTES) and self._untaken:
            # A close would wait until all of it is taken.
            self.transport.abort()
            return
        self._untaken = untaken
        self._next_look = self.loop.call_later(TAKING_SECONDS, self._look_whether_it_takes)
