"""The pages that only show: the board, one channel, the alarms."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from contractcourt.case import State
from contractcourt.effects import CloseKind
from storage import alarms, blocks, dead_letters, sight
from workers.gateway.addresses import After, find_channel
from workers.gateway.court import Court
from workers.gateway.desk import actions, live, static, timeline, visitors
from workers.gateway.desk.board import COUNTED, board
from workers.gateway.desk.case_file import case_file
from workers.gateway.desk.choice import ALARMED, RISKS, choice_of
from workers.gateway.desk.machine_picture import MEANINGS
from workers.gateway.desk.page_route import PageRoute
from workers.gateway.desk.pages import page
from workers.gateway.desk.sessions import Sessions
from workers.gateway.desk.stream import Attention, Stream

#: What a page without channels listens to.
_BOARD = Attention(frozenset(), in_court=True)
_LETTERS = 100
Before = Annotated[int | None, Query(ge=1, le=2**63 - 1)]


def routes(court: Court, stream: Stream) -> APIRouter:
    """Everything that people see."""
    sessions = Sessions(court.access)
    router = APIRouter()
    router.include_router(static.routes())
    router.include_router(live.routes(court, sessions, stream))
    router.include_router(_pages(court, sessions))
    router.include_router(actions.routes(court, sessions))
    return router


def _pages(court: Court, sessions: Sessions) -> APIRouter:
    router = APIRouter(route_class=PageRoute, include_in_schema=False)

    @router.get("/")
    def show_board(request: Request) -> HTMLResponse:
        visitor = visitors.reader(court, sessions, request)
        choice = choice_of(request.query_params)
        with court.db.looking() as conn:
            shown = board(conn, choice)
            attention = Attention(frozenset(shown.shown), in_court=True)
            mark = attention.mark(sight.look(conn, attention.channels))
        return page(
            "board",
            visitor=visitor,
            board=shown,
            choice=choice,
            mark=mark,
            states=list(State),
            meanings=MEANINGS,
            kinds=list(CloseKind),
            risks=(*RISKS, ALARMED),
            counted=COUNTED,
            drawing=timeline,
        )

    @router.get("/channels/{cp}")
    def show_channel(request: Request, cp: str, before: Before = None) -> HTMLResponse:
        visitor = visitors.reader(court, sessions, request)
        with court.db.looking() as conn:
            row = find_channel(conn, cp)
            shown = case_file(conn, row, before)
            attention = Attention(frozenset({row.id}), in_court=False)
            mark = attention.mark(sight.look(conn, attention.channels))
        return page("case", visitor=visitor, file=shown, view=shown.view, mark=mark, before=before)

    @router.get("/alarms")
    def show_alarms(request: Request) -> HTMLResponse:
        visitor = visitors.reader(court, sessions, request)
        with court.db.looking() as conn:
            raised = alarms.list_open(conn)
            count = alarms.count_open(conn, COUNTED + 1)
            cursor = blocks.cursor(conn)
            mark = _BOARD.mark(sight.look(conn, ()))
        height = None if cursor is None else cursor.height
        return page(
            "alarms",
            visitor=visitor,
            alarms=raised,
            count=count,
            counted=COUNTED,
            height=height,
            mark=mark,
        )

    @router.get("/dead-letters")
    def show_dead_letters(request: Request, after: After = 0) -> HTMLResponse:
        visitor = visitors.reader(court, sessions, request)
        with court.db.looking() as conn:
            found = dead_letters.list_letters(conn, after=after, limit=_LETTERS + 1)
            cursor = blocks.cursor(conn)
            mark = _BOARD.mark(sight.look(conn, ()))
        return page(
            "dead_letters",
            visitor=visitor,
            letters=found[:_LETTERS],
            next_after=found[_LETTERS - 1].id if len(found) > _LETTERS else None,
            height=None if cursor is None else cursor.height,
            mark=mark,
        )

    return router
