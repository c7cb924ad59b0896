"""Every refusal as RFC 9457 problem details: what was wrong, and what to do.

`KINDS` is the closed list of problem names; a name is the last part of the `type` URN, the label
of the refusal counter and what a client should branch on.
"""

from __future__ import annotations

from typing import Any

import psycopg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import Scope

from contractcourt.errors import (
    CommitmentMismatch,
    CommitmentNumberRegression,
    InvalidPoint,
    InvalidSignature,
    LawError,
    MalformedTransaction,
    OutOfOrder,
    RevocationSecretMismatch,
    UnsupportedChannelType,
)
from storage.errors import UnreadableRecord, WrongSealKey
from storage.retries import is_retryable

#: Where a request's scope keeps the name of the problem it was answered with.
PROBLEM_KEY = "contractcourt.problem"
MEDIA_TYPE = "application/problem+json"
URN = "urn:contractcourt:problem:"
#: What a client waits before it tries again.
RETRY_AFTER_SECONDS = "2"
_log = structlog.get_logger()

#: Problem name -> (HTTP status, title).
KINDS: dict[str, tuple[int, str]] = {
    "malformed-json": (400, "The body is not JSON"),
    "malformed-request": (400, "The request is malformed"),
    "bad-signature": (401, "The webhook signature is missing or wrong"),
    "stale-timestamp": (401, "The webhook timestamp is too far from now"),
    "unauthorized": (401, "A bearer token is needed"),
    "forbidden": (403, "This token does not allow that"),
    "unknown-node": (404, "No such node"),
    "unknown-channel": (404, "No such channel"),
    "unknown-letter": (404, "No such dead letter"),
    "not-found": (404, "There is nothing here"),
    "method-not-allowed": (405, "This path does not take that method"),
    "slow-body": (408, "The body came too slowly"),
    "conflict": (409, "This contradicts what is already known"),
    "message-id-reused": (409, "This webhook-id already named another message"),
    "no-commitment": (409, "There is no commitment to publish"),
    "commitment-number-regression": (409, "A commitment number goes back"),
    "out-of-order": (409, "Something that must come first is missing"),
    "body-too-large": (413, "The body is too large"),
    "invalid-fields": (422, "Fields are wrong"),
    "unknown-event-type": (422, "No such event type"),
    "sweep-script-not-allowed": (422, "The sweep script is not one of the node's"),
    "invalid-point": (422, "A point is not on the curve"),
    "invalid-signature": (422, "A signature does not verify"),
    "malformed-transaction": (422, "A transaction is malformed"),
    "revocation-secret-mismatch": (422, "A revocation secret does not fit"),
    "commitment-mismatch": (422, "A commitment is not what its numbers describe"),
    "unsupported-channel-type": (422, "This channel type is only watched"),
    "refused-by-law": (422, "The law refuses this"),
    "too-many-requests": (429, "Too many requests"),
    "internal-error": (500, "The court failed"),
    "unavailable": (503, "The court can't take this now"),
}

#: The law's errors, the most particular first.
_LAW: tuple[tuple[type[LawError], str], ...] = (
    (CommitmentNumberRegression, "commitment-number-regression"),
    (OutOfOrder, "out-of-order"),
    (InvalidPoint, "invalid-point"),
    (InvalidSignature, "invalid-signature"),
    (MalformedTransaction, "malformed-transaction"),
    (RevocationSecretMismatch, "revocation-secret-mismatch"),
    (CommitmentMismatch, "commitment-mismatch"),
    (UnsupportedChannelType, "unsupported-channel-type"),
    (LawError, "refused-by-law"),
)


class ProblemDetails(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    instance: str


class Problem(HTTPException):
    """A refusal of `KINDS`; `detail` says what was wrong and what to do."""

    def __init__(self, kind: str, detail: str, headers: dict[str, str] | None = None) -> None:
        status, self.title = KINDS[kind]
        self.kind = kind
        super().__init__(status, detail, headers)


def unavailable(detail: str) -> Problem:
    """503: the same request may well succeed a little later."""
    return Problem("unavailable", detail, {"Retry-After": RETRY_AFTER_SECONDS})


def law_problem(error: LawError) -> Problem:
    """The problem that tells a sender why the law refuses."""
    return next(Problem(kind, str(error)) for law, kind in _LAW if isinstance(error, law))


def problem_response(problem: Problem, scope: Scope) -> JSONResponse:
    """The answer to a refused request."""
    body = {
        "type": URN + problem.kind,
        "title": problem.title,
        "status": problem.status_code,
        "detail": problem.detail,
        "instance": scope.get("path", ""),
    }
    scope[PROBLEM_KEY] = problem.kind
    headers = dict(problem.headers or {})
    return JSONResponse(body, problem.status_code, headers, media_type=MEDIA_TYPE)


def as_problem(error: Exception) -> Problem:
    """Any error as the problem to answer with; what nobody foresaw becomes a plain 500."""
    match error:
        case Problem():
            return error
        case LawError():
            return law_problem(error)
        case RequestValidationError():
            if any(detail["type"] == "json_invalid" for detail in error.errors()):
                return Problem("malformed-json", "the body is not JSON")
            return Problem("invalid-fields", "; ".join(map(_line, error.errors()[:10])))
        case HTTPException():
            return _of_the_library(error)
        case WrongSealKey():
            # Until the node has a secret under the present key (how-to/rotate-secrets).
            return unavailable("this gateway's key does not open the node's webhook secrets")
        case UnreadableRecord():
            return unavailable("only a newer version can read it: nothing was stored, ask again")
        case _ if is_retryable(error) or isinstance(error, psycopg.errors.QueryCanceled):
            return unavailable("nothing was stored: send the same request again")
        case _:
            return Problem("internal-error", "nothing was stored; the gateway's log says why")


def _of_the_library(error: HTTPException) -> Problem:
    """What Starlette and FastAPI refuse by themselves; their words say not what to do."""
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return Problem("not-found", "no call has this path: /docs shows those that there are")
        case 405:
            taken = headers.get("Allow", "what /docs shows")
            return Problem("method-not-allowed", f"this path takes {taken}", headers)
        case 400:
            # Not UTF-8, nested too deep, a number of thousands of digits.
            return Problem("malformed-json", "the body is not JSON that can be read")
        case _:
            return Problem("malformed-request", str(error.detail), headers)


def _line(detail: dict[str, Any]) -> str:
    # Locations begin with where the field stood: path, query or body.
    where = ".".join(str(step)[:64] for step in detail["loc"][1:])
    # A body of another type, as of curl's -d, is not read at all.
    return f"{where}: {detail['msg']}" if where else "send a JSON object as application/json"


def install(app: FastAPI) -> None:
    """Answer every error of `app` with problem details."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        problem = as_problem(error)
        if problem.status_code >= 500:
            _log.error(
                "request_failed", problem=problem.kind, path=request.url.path, exc_info=error
            )
        return problem_response(problem, request.scope)

    for kind in (HTTPException, RequestValidationError, LawError, psycopg.Error, Exception):
        app.add_exception_handler(kind, answer)
