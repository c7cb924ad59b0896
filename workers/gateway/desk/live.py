"""`GET /stream`: server-sent events for an open page, which says what it shows and has seen."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from storage.sight import Seen, Sight
from workers.gateway.court import Court
from workers.gateway.desk import visitors
from workers.gateway.desk.sessions import Sessions
from workers.gateway.desk.stream import MOST_CHANNELS, Attention, Stream
from workers.gateway.problems import Problem

#: A page comes back by itself, and proves anew who it is.
_LIFETIME_SIGHTS = 600
_MOST_QUIET_SIGHTS = 15
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_RETRY_MILLISECONDS = 2_000


def routes(court: Court, sessions: Sessions, stream: Stream) -> APIRouter:
    """The stream, for whoever may look."""
    router = APIRouter()

    @router.get("/stream", include_in_schema=False)
    async def listen(request: Request) -> StreamingResponse:
        await run_in_threadpool(visitors.reader, court, sessions, request)
        attention = _attention(request)
        stream.admit()
        # What the page was drawn from; after a lost connection, the last event it was sent.
        mark = request.headers.get("last-event-id") or request.query_params.get("seen", "")
        return StreamingResponse(
            _events(request, stream, attention, mark),
            media_type="text/event-stream",
            headers=_HEADERS,
        )

    return router


def _attention(request: Request) -> Attention:
    named = [text for text in request.query_params.get("channels", "").split(",") if text]
    if len(named) > MOST_CHANNELS or not all(_is_id(text) for text in named):
        raise Problem("invalid-fields", f"channels: up to {MOST_CHANNELS} ids, set off by commas")
    return Attention(frozenset(map(int, named)), request.query_params.get("board") == "1")


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


async def _events(
    request: Request, stream: Stream, attention: Attention, mark: str
) -> AsyncIterator[str]:
    yield f"retry: {_RETRY_MILLISECONDS}\n\n"
    before: Sight | None = None
    sights = quiet = 0
    async for sight in stream.sights(attention):
        sights, quiet = sights + 1, quiet + 1
        if sights > _LIFETIME_SIGHTS or await request.is_disconnected():
            return
        now = mark if sight is None else attention.mark(sight)
        if sight is not None and now != mark:
            changed = json.dumps(_changes(attention, before, sight), separators=(",", ":"))
            yield f"id: {now}\nevent: changed\ndata: {changed}\n\n"
            quiet = 0
        elif sight is None or quiet >= _MOST_QUIET_SIGHTS:
            # A word in between, so that a dead connection is found out.
            yield ": nothing new\n\n"
            quiet = 0
        mark, before = now, sight or before


def _changes(attention: Attention, before: Sight | None, sight: Sight) -> dict[str, object]:
    """What moved: of the first event's channels all that are shown, for nobody knows better."""
    old: dict[int, Seen] = {} if before is None else attention.seen(before)
    moved = [
        {"id": channel_id, "channel_point": str(seen.channel_point), "state": seen.state}
        for channel_id, seen in attention.seen(sight).items()
        if old.get(channel_id) != seen
    ]
    return {
        "height": sight.height,
        "alarms": before is not None and before.alarms != sight.alarms,
        "dead_letters": before is not None and before.dead_letters != sight.dead_letters,
        "channels": moved,
    }
