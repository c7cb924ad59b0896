"""A TCP proxy on loopback that cuts, freezes and garbles what passes through it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Self

_CHUNK = 64 * 1024
_NOISE = b"\x00\xff nonsense \xfe\r\n\r\n"


class ProxyLoop:
    """The thread on which any number of proxies run. A context manager."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run it on the loop and wait for what it answers."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


class Proxy:
    """Forwards every connection to `port` of ours on to `target` on loopback.

    Frozen, both directions stand still while every socket stays open, as when a cable is pulled:
    nobody is told anything. New connections are taken and stand still too.
    """

    def __init__(self, loop: ProxyLoop, port: int, target: int) -> None:
        self.port = port
        self._target = target
        self._loop = loop
        self._open: set[asyncio.StreamWriter] = set()
        self._garbled = 0
        loop.call(self._listen())

    def cut(self) -> int:
        """Reset every connection; how many there were."""
        return int(self._loop.call(self._cut()))

    def freeze(self) -> None:
        """Let nothing pass until `thaw`."""
        self._loop.call(self._set_flowing(False))

    def thaw(self) -> None:
        """Let everything pass again, also what waited."""
        self._loop.call(self._set_flowing(True))

    def garble(self, answers: int) -> None:
        """The next so many chunks that the target answers arrive as noise."""
        self._garbled = answers

    async def _listen(self) -> None:
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _set_flowing(self, flowing: bool) -> None:
        self._flowing.set() if flowing else self._flowing.clear()

    async def _cut(self) -> int:
        count = len(self._open) // 2
        for writer in self._open:
            writer.transport.abort()
        return count

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._open |= both
        try:
            await asyncio.gather(
                self._pass_on(reader, far_writer, lambda chunk: chunk),
                self._pass_on(far_reader, writer, self._maybe_garbled),
            )
        finally:
            self._open -= both
            for end in both:
                end.transport.abort()

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        changed: Callable[[bytes], bytes],
    ) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                await self._flowing.wait()
                writer.write(changed(chunk))
                await _drained(writer.drain)
        writer.transport.abort() if writer.is_closing() else writer.close()

    def _maybe_garbled(self, chunk: bytes) -> bytes:
        if self._garbled <= 0:
            return chunk
        self._garbled -= 1
        return _NOISE


async def _drained(drain: Callable[[], Awaitable[None]]) -> None:
    with suppress(OSError):
        await drain()
