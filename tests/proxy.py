"""A TCP proxy before a server, which cuts, freezes, forgets and garbles what passes through it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

_CHUNK = 64 * 1024
_Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_NOISE = b"\x00\xff nonsense \xfe\r\n\r\n"


class ProxyLoop:
    """The thread on which any number of proxies run. A context manager."""

    def __enter__(self) -> Self:
        self._servers: list[asyncio.Server] = []
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

    async def listen(self, serve: _Serve, host: str, port: int) -> asyncio.Server:
        """A server of this loop; it ends with the loop."""
        server = await asyncio.start_server(serve, host, port)
        self._servers.append(server)
        return server

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


@dataclass(eq=False, slots=True)
class _Connection:
    """Its ends, and whether anything passes between them."""

    passes: asyncio.Event = field(default_factory=asyncio.Event)
    ends: list[asyncio.StreamWriter] = field(default_factory=list)


class Proxy:
    """Forwards every connection to its `port` on to `target`. Told what to do by a test's thread.

    Args:
        target: host and port of the server.
        host: the address to listen at.
        port: where to listen; 0 takes a free one.
    """

    def __init__(
        self, loop: ProxyLoop, target: tuple[str, int], *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.host = host
        self.port = port
        #: Connections that ever came.
        self.accepted = 0
        self._loop = loop
        self._target = target
        self._connections: set[_Connection] = set()
        self._frozen = False
        self._garbled = 0
        loop.call(self._listen())

    def in_url(self, url: str) -> str:
        """The URL of the server, by way of this proxy."""
        parts = urlsplit(url)
        login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        return urlunsplit(parts._replace(netloc=f"{login}{self.host}:{self.port}"))

    def cut(self) -> None:
        """Reset every connection; new ones are served."""
        self._loop.call(self._cut())

    def refuse(self) -> None:
        """Reset every connection, and refuse new ones until `admit`."""
        self._loop.call(self._refuse())

    def admit(self) -> None:
        """After `refuse`: listen again."""
        self._loop.call(self._listen())

    def freeze(self) -> None:
        """As when a cable is pulled: nothing passes until `thaw`, and nobody is told anything.

        New connections are taken and stand still too.
        """
        self._loop.call(self._freeze())

    def thaw(self) -> None:
        """Let everything pass again, also what waited."""
        self._loop.call(self._thaw())

    def forget(self) -> None:
        """What is connected stays so and is silent for ever; new connections are served."""
        self._loop.call(self._forget())

    def garble(self, answers: int) -> None:
        """The next so many chunks that the target answers arrive as noise."""
        self._garbled = answers

    async def _listen(self) -> None:
        self._server = await self._loop.listen(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        self._server.close()
        await self._cut()

    async def _cut(self) -> None:
        for connection in self._connections:
            for end in connection.ends:
                end.transport.abort()
            # Whoever waits to pass something on finds that there is nobody to pass it to.
            connection.passes.set()

    async def _freeze(self) -> None:
        self._frozen = True
        for connection in self._connections:
            connection.passes.clear()

    async def _thaw(self) -> None:
        self._frozen = False
        for connection in self._connections:
            connection.passes.set()

    async def _forget(self) -> None:
        await self._freeze()
        self._frozen = False
        self._connections.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        connection = _Connection(ends=[writer])
        self._connections.add(connection)
        if not self._frozen:
            connection.passes.set()
        try:
            await connection.passes.wait()
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            connection.ends.append(far_writer)
            await _first_of(
                self._pass_on(reader, far_writer, connection, lambda chunk: chunk),
                self._pass_on(far_reader, writer, connection, self._maybe_garbled),
            )
        except OSError:
            writer.transport.abort()
        finally:
            self._connections.discard(connection)
            for end in connection.ends:
                end.close()

    @staticmethod
    async def _pass_on(
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        connection: _Connection,
        changed: Callable[[bytes], bytes],
    ) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                await connection.passes.wait()
                writer.write(changed(chunk))
                await writer.drain()

    def _maybe_garbled(self, chunk: bytes) -> bytes:
        if self._garbled <= 0:
            return chunk
        self._garbled -= 1
        return _NOISE


@contextmanager
def proxy_before(url: str) -> Iterator[Proxy]:
    """A proxy before the server of this URL, with a thread of its own."""
    with ProxyLoop() as loop:
        yield Proxy(loop, server_of(url))


def server_of(url: str) -> tuple[str, int]:
    """Host and port."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


async def _first_of(*directions: Coroutine[Any, Any, None]) -> None:
    """Until one of them ends; the others are given up."""
    tasks = [asyncio.create_task(direction) for direction in directions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
