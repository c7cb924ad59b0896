"""Every form of the desk: signing in and out, a force close, what waits for an operator."""

from __future__ import annotations

import uuid
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import RedirectResponse, Response

from storage import alarms
from tasks.logs import bound
from workers.gateway import closing, dead_letters_api
from workers.gateway.addresses import find_channel
from workers.gateway.court import Court
from workers.gateway.desk import visitors
from workers.gateway.desk.case_file import case_file
from workers.gateway.desk.page_route import PageRoute
from workers.gateway.desk.pages import page
from workers.gateway.desk.sessions import COOKIE, LIFETIME_SECONDS, Sessions
from workers.gateway.fields import A_REASON, is_reason
from workers.gateway.problems import Problem

_log = structlog.get_logger()


async def _fields(request: Request) -> dict[str, str]:
    return visitors.fields_of(request.headers.get("content-type"), await request.body())


Fields = Annotated[dict[str, str], Depends(_fields)]


RowId = Annotated[int, Path(ge=1, le=2**63 - 1)]


def routes(court: Court, sessions: Sessions) -> APIRouter:
    """The forms, and the page that asks a second time."""
    router = APIRouter(route_class=PageRoute, include_in_schema=False)
    _signing(router, court, sessions)
    _closing(router, court, sessions)

    @router.post("/alarms/{alarm_id}/clear")
    def clear_alarm(request: Request, alarm_id: RowId, fields: Fields) -> Response:
        visitors.check_form(visitors.operator(sessions, request), request, fields)
        with court.db.transaction() as conn:
            alarms.clear(conn, [alarm_id])
        _log.info("alarm_cleared", alarm=alarm_id)
        return _go(_local(fields.get("next", "/alarms")))

    @router.post("/dead-letters/{letter_id}/replay")
    def replay_letter(request: Request, letter_id: RowId, fields: Fields) -> Response:
        visitors.check_form(visitors.operator(sessions, request), request, fields)
        dead_letters_api.replay(court, letter_id)
        return _go("/dead-letters")

    return router


def _signing(router: APIRouter, court: Court, sessions: Sessions) -> None:
    @router.get("/sign-in")
    def ask_token(request: Request) -> Response:
        return page("sign_in", next=_local(request.query_params.get("next", "/")), refused="")

    @router.post("/sign-in")
    def sign_in(request: Request, fields: Fields) -> Response:
        visitors.same_origin(request)
        next_page = _local(fields.get("next", "/"))
        cookie = sessions.open(fields.get("token", "").strip())
        if cookie is None:
            _log.warning("sign_in_refused")
            refused = "This is neither the operator's nor a viewer's token."
            return page("sign_in", 401, next=next_page, refused=refused)
        answer = _go(next_page)
        answer.set_cookie(
            COOKIE,
            cookie,
            max_age=LIFETIME_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    @router.post("/sign-out")
    def sign_out(request: Request, fields: Fields) -> Response:
        visitor = visitors.reader(court, sessions, request)
        visitors.check_form(visitor, request, fields)
        answer = _go("/")
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer


def _closing(router: APIRouter, court: Court, sessions: Sessions) -> None:
    @router.get("/channels/{cp}/force-close")
    def ask_again(request: Request, cp: str) -> Response:
        visitor = visitors.operator(sessions, request)
        with court.db.transaction() as conn:
            shown = case_file(conn, find_channel(conn, cp))
        # The key goes with the form: however often it is sent, it is one request.
        return page(
            "force_close", visitor=visitor, file=shown, view=shown.view, key=uuid.uuid4().hex
        )

    @router.post("/channels/{cp}/force-close")
    def force_close(request: Request, cp: str, fields: Fields) -> Response:
        visitors.check_form(visitors.operator(sessions, request), request, fields)
        if fields.get("sure") != "yes":
            raise Problem("invalid-fields", "tick the box: a force close can't be taken back")
        reason, key = _reason(fields.get("reason", "")), _key(fields.get("key", ""))
        with bound(channel_point=cp):
            asked = closing.ask_as_operator(court, cp, reason=reason, key=key)
            _log.info("force_close_asked", outcome=asked.answer.outcome, reason=reason)
        court.wake(asked.wake_up)
        return _go(f"/channels/{cp}#force-close")


def _reason(text: str) -> str:
    reason = text.strip()
    if not is_reason(reason):
        raise Problem("invalid-fields", f"reason: {A_REASON}")
    return reason


def _key(text: str) -> str:
    if not (text.isascii() and text.isalnum() and 16 <= len(text) <= 64):
        raise Problem("malformed-request", "open the page of the force close again")
    return text


def _local(address: str) -> str:
    """An address of this very site; anything else leads to the first page."""
    inside = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if inside and address.isascii() and address.isprintable() else "/"


def _go(address: str) -> RedirectResponse:
    # 303: whatever was sent, the next page is only looked at, and a reload repeats nothing.
    return RedirectResponse(address, 303)
