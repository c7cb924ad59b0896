"""Who is looking at a page, and whether a form may change anything."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.requests import HTTPConnection, Request

from workers.gateway.access import Access, Role
from workers.gateway.court import Court
from workers.gateway.desk.sessions import COOKIE, Session, Sessions, is_form_of
from workers.gateway.problems import Problem

#: The hidden field that every form of a session carries.
FORM_TOKEN = "form_token"
_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 20


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who looks. `role` is None for a stranger, whom a court may let look."""

    role: Role | None
    session: Session | None

    @property
    def may_act(self) -> bool:
        """Whether buttons are shown: an operator who signed in here."""
        return self.session is not None and self.session.role is Role.OPERATOR

    @property
    def form_token(self) -> str:
        """What this visitor's forms carry."""
        return "" if self.session is None else self.session.form_token


class SignInNeeded(Problem):
    """Answered with the sign-in page."""

    def __init__(self) -> None:
        super().__init__(
            "unauthorized",
            "sign in with the operator's or a viewer's token",
            {"WWW-Authenticate": "Bearer"},
        )


def has_login(access: Access, sessions: Sessions, request: HTTPConnection) -> bool:
    """Whether a token or a cookie of this court comes with it; whoever shows one is no stranger."""
    if access.role_of_bearer(request.headers.get("authorization")) is not None:
        return True
    return sessions.read(request.cookies.get(COOKIE)) is not None


def reader(court: Court, sessions: Sessions, request: Request) -> Visitor:
    """Who wants to look. Raises SignInNeeded when reading is closed to strangers."""
    session = sessions.read(request.cookies.get(COOKIE))
    role = court.access.role_of_bearer(request.headers.get("authorization"))
    visitor = Visitor(role if session is None else session.role, session)
    if visitor.role is None and court.access.protect_reads:
        raise SignInNeeded
    return visitor


def operator(sessions: Sessions, request: Request) -> Visitor:
    """The operator, signed in. Raises SignInNeeded for a stranger, Problem 403 for a viewer."""
    session = sessions.read(request.cookies.get(COOKIE))
    if session is None:
        raise SignInNeeded
    if session.role is not Role.OPERATOR:
        raise Problem("forbidden", "a viewer may only look: sign in with the operator token")
    return Visitor(session.role, session)


def check_form(visitor: Visitor, request: Request, fields: dict[str, str]) -> None:
    """Raise Problem 403 unless the form came from our own page, shown to this session."""
    same_origin(request)
    if visitor.session is None or not is_form_of(visitor.session, fields.get(FORM_TOKEN, "")):
        raise Problem("forbidden", "this form is out of date: open the page again and repeat it")


def same_origin(request: Request) -> None:
    """Raise Problem 403 when a browser says that another site sent this form."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Problem("forbidden", "this form was sent by another site")


def fields_of(content_type: str | None, body: bytes) -> dict[str, str]:
    """The fields of a form. Raises Problem 400 when the body is none."""
    try:
        if (content_type or "").partition(";")[0].strip().lower() != _FORM:
            raise ValueError
        return dict(
            parse_qsl(
                body.decode("ascii"),
                keep_blank_values=True,
                strict_parsing=bool(body),
                errors="strict",
                max_num_fields=_MOST_FIELDS,
            )
        )
    except ValueError:
        raise Problem("malformed-request", f"send a form as {_FORM}") from None
