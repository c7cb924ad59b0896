"""How much the gateway reads from anybody before it knows who it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.gateway.problems import Problem, problem_response

#: Most clients read no answer before they have sent all, so up to this much is read and dropped.
_DROPPED_BYTES = 16 * 1_048_576
_BODY_SECONDS = 30.0


class BodyLimit:
    """ASGI middleware: a body over the limit is refused unread, one that trickles is cut off.

    Bodies are gathered here, so that the routes behind meet only whole bodies of a lawful size.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await self._whole_body(Headers(scope=scope), receive)
        except TimeoutError:
            problem = Problem("slow-body", f"send the whole body within {_BODY_SECONDS:.0f} s")
            await self._refuse(problem, scope, receive, send)
        except Problem as problem:
            await self._refuse(problem, scope, receive, send)
        except _Disconnected:
            return
        else:
            await self._app(scope, _replay(body, receive), send)

    async def _whole_body(self, headers: Headers, receive: Receive) -> bytes:
        declared = int(length) if (length := headers.get("content-length", "0")).isdigit() else 0
        if declared > self._max_bytes:
            if declared <= _DROPPED_BYTES and "expect" not in headers:
                await _drop(receive, declared)
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        async for chunk in _chunks(receive):
            size += len(chunk)
            if size > self._max_bytes:
                await _drop(receive, _DROPPED_BYTES - size)
                raise self._too_large()
            chunks.append(chunk)
        return b"".join(chunks)

    def _too_large(self) -> Problem:
        return Problem(
            "body-too-large",
            f"a body may have {self._max_bytes} bytes: send fewer updates in one message",
        )

    async def _refuse(self, problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        response = problem_response(problem, scope)
        response.headers["Connection"] = "close"
        await response(scope, receive, send)


class _Disconnected(Exception):
    """The client went away before its body was complete."""


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


async def _drop(receive: Receive, most: int) -> None:
    dropped = 0
    async for chunk in _chunks(receive):
        dropped += len(chunk)
        if dropped > most:
            return


def _replay(body: bytes, receive: Receive) -> Receive:
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
