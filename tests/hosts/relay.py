"""A TCP relay that a test can freeze, cut, or make forget its connections.

It listens for one host and leads to one server. Everything runs in one thread with one event loop;
`freeze` and its like are called from the test's thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

_CHUNK = 65_536


class Relay:
    """Bytes from `host`:`port` to the server and back, as long as the cable is whole.

    Args:
        target: where the server listens.
        host: the address to listen at.
    """

    def __init__(self, target: tuple[str, int], host: str = "127.0.0.1") -> None:
        self._target = target
        self._host = host
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        #: The flow of each connection: set while its bytes pass.
        self._flows: dict[asyncio.Event, list[asyncio.StreamWriter]] = {}
        self._frozen = False
        self.port = 0
        self.accepted = 0

    # -- what a test does --

    def freeze(self) -> None:
        """Half-open: nobody is told anything, and no byte passes; new connections neither."""
        self._do(self._stop_flowing)

    def thaw(self) -> None:
        """What was frozen flows again, nothing is lost."""
        self._do(self._flow_again)

    def forget(self) -> None:
        """The connections there are stay silent for ever; new ones are served."""
        self._do(self._forget)

    def cut(self) -> None:
        """Every connection is reset, and new ones are refused, until `mend`."""
        self._await(self._close())

    def mend(self) -> None:
        """After `cut`: listen at the same port again."""
        self._await(self._listen())

    # -- how it is done --

    def __enter__(self) -> Self:
        self._thread.start()
        self._await(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._await(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, self._host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writers in list(self._flows.values()):
            for writer in writers:
                writer.transport.abort()
        self._flow_again()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        flow = asyncio.Event()
        self._flows[flow] = [writer]
        if not self._frozen:
            flow.set()
        try:
            await flow.wait()
            there, back = await asyncio.open_connection(*self._target)
            self._flows[flow].append(back)
            pumps = [
                asyncio.create_task(_pump(reader, back, flow)),
                asyncio.create_task(_pump(there, writer, flow)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
        except OSError:
            pass
        finally:
            for one in self._flows.pop(flow, ()):
                one.close()

    def _stop_flowing(self) -> None:
        self._frozen = True
        for flow in self._flows:
            flow.clear()

    def _flow_again(self) -> None:
        self._frozen = False
        for flow in self._flows:
            flow.set()

    def _forget(self) -> None:
        self._frozen = False
        for flow in self._flows:
            flow.clear()
        self._flows.clear()

    def _do(self, work: Callable[[], None]) -> None:
        async def call() -> None:
            work()

        self._await(call())

    def _await(self, work: object) -> None:
        assert asyncio.iscoroutine(work)
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


async def _pump(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, flow: asyncio.Event
) -> None:
    with suppress(OSError):
        while data := await source.read(_CHUNK):
            await flow.wait()
            target.write(data)
            await target.drain()
