"""HEAD: what a monitor or `curl --head` asks, answered as GET is, without the body."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

#: It has no end, and would be sent to somebody who takes nothing of it.
_STREAM = "/stream"


class HeadAsGet:
    """ASGI middleware: routes see GET. The server, which knows better, leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD" and scope["path"] != _STREAM:
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)
