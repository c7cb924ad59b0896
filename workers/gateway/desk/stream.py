"""One look a second at Postgres for all open pages of a process, however many there are.

A page that listens holds a coroutine and nothing else: no connection, no thread, no state that
another gateway would miss. What it has seen is a mark in the events themselves; who comes back
with a mark that is no longer true is told so at once.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass

import structlog

from storage.sight import Seen, Sight
from workers.gateway.problems import unavailable

#: Pages that may listen to one process, and channels that one page may name.
MOST_LISTENERS = 256
MOST_CHANNELS = 128
_SECONDS = 1.0
#: How long a page waits for a sight before it is told that there was none.
_BEAT_SECONDS = 15.0

Look = Callable[[Collection[int]], Sight]
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Attention:
    """What one page shows: these channels, and with `in_court` whatever is before the court."""

    channels: frozenset[int]
    in_court: bool

    def seen(self, sight: Sight) -> dict[int, Seen]:
        """The part of a sight that this page shows."""
        return {
            channel_id: seen
            for channel_id, seen in sight.cases.items()
            if channel_id in self.channels or (self.in_court and seen.in_court)
        }

    def mark(self, sight: Sight) -> str:
        """The same for every gateway, as long as nothing moved that this page shows."""
        cases = sorted((channel_id, seen.version) for channel_id, seen in self.seen(sight).items())
        facts = repr((sight.height, sight.step, sight.alarms, sight.dead_letters, cases))
        return hashlib.sha256(facts.encode()).hexdigest()[:24]


class Stream:
    """The sights of one gateway process, looked for only while somebody listens."""

    def __init__(self, look: Look, *, seconds: float = _SECONDS, most: int = MOST_LISTENERS):
        self._look = look
        self._seconds = seconds
        self._most = most
        self._listeners: set[_Listener] = set()
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def listeners(self) -> int:
        """How many pages listen."""
        return len(self._listeners)

    def admit(self) -> None:
        """Raise Problem 503 when no more can listen; a page then asks again later."""
        if self._closed or len(self._listeners) >= self._most:
            raise unavailable("too many pages listen to this gateway: reload by hand meanwhile")

    async def sights(self, attention: Attention) -> AsyncIterator[Sight | None]:
        """Each new sight, and None now and then when there was none. Ends when closed."""
        listener = _Listener(attention)
        self._listeners.add(listener)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._keep_looking())
        try:
            while not self._closed:
                yield await listener.next_sight()
        finally:
            self._listeners.discard(listener)

    def close(self) -> None:
        """End every stream, so that the server can. From the event loop only."""
        self._closed = True
        for listener in self._listeners:
            listener.wake(None)

    async def _keep_looking(self) -> None:
        while self._listeners and not self._closed:
            wanted = {one for it in self._listeners for one in it.attention.channels}
            try:
                sight = await asyncio.to_thread(self._look, wanted)
            # Whatever the database says: pages stay as they are, and the next look may succeed.
            except Exception as error:
                _log.warning("look_failed", error=type(error).__name__)
            else:
                for listener in self._listeners:
                    if listener.attention.channels <= wanted:
                        listener.wake(sight)
            await asyncio.sleep(self._seconds)


class _Listener:
    """One page: the newest sight that it has not taken yet."""

    def __init__(self, attention: Attention) -> None:
        self.attention = attention
        self._sight: Sight | None = None
        self._news = asyncio.Event()

    def wake(self, sight: Sight | None) -> None:
        self._sight = sight
        self._news.set()

    async def next_sight(self) -> Sight | None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_BEAT_SECONDS):
                await self._news.wait()
        self._news.clear()
        sight, self._sight = self._sight, None
        return sight
