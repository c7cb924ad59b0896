"""The signer over HTTP: four calls behind one bearer token, no word of a body in any log.

Refusals are problem details (RFC 9457) whose `type` ends in the reason's stable name. What an
unexpected error says is never shown nor logged, only its class and where it was raised: a message
could quote a value.
"""

from __future__ import annotations

import hmac
import resource
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

import structlog
import uvicorn
from psycopg import Error as DatabaseError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chain import consensus
from contractcourt.bitcoin.script import is_standard_sweep
from contractcourt.codec import decode, encode
from contractcourt.errors import ContractCourtError, LawError
from contractcourt.signing import (
    MAX_BODY_BYTES,
    PROBLEM_TYPE,
    PointRequest,
    SignedTransaction,
    SigningAnswer,
    SigningProblem,
    SigningRefused,
    SigningRequest,
    ValueUnproved,
)
from contractcourt.units import Script
from storage.database import Database
from storage.seal import Seal, load_seal_key
from tasks.collector import collect_seldom
from tasks.crash_points import CrashPoint, reach
from tasks.errors import SettingsError
from tasks.settings import PREFIX, Settings
from workers import listening
from workers.signer.errors import (
    ForeignKeyDocument,
    KeysMissing,
    MalformedKeyDocument,
    UnknownNode,
)
from workers.signer.keyring import KeyRing
from workers.signer.signing import Signer

_PROBLEM_MEDIA_TYPE = "application/problem+json"

_log = structlog.get_logger()

#: How each known error is answered: status and the name that ends the problem's type.
_ANSWERS: tuple[tuple[type[Exception], HTTPStatus, str], ...] = (
    # Workers take what is below 500 for final, and the next request may bring what this one lacks.
    (ValueUnproved, HTTPStatus.INTERNAL_SERVER_ERROR, "unproved-value"),
    (KeysMissing, HTTPStatus.NOT_FOUND, "keys-missing"),
    (UnknownNode, HTTPStatus.NOT_FOUND, "unknown-node"),
    (ForeignKeyDocument, HTTPStatus.CONFLICT, "foreign-key-document"),
    (MalformedKeyDocument, HTTPStatus.BAD_REQUEST, "malformed-key-document"),
    (LawError, HTTPStatus.BAD_REQUEST, "malformed-request"),
    (ContractCourtError, HTTPStatus.INTERNAL_SERVER_ERROR, "signer-error"),
)

Work = Callable[[bytes], bytes]


def create_app(signer: Signer, token: str) -> Starlette:
    """The signer's HTTP application.

    Args:
        token: what callers must send as `Authorization: Bearer ...`.
    """

    def sign(body: bytes) -> bytes:
        (answer,) = _signed(signer, [decode(body, SigningRequest)])
        if isinstance(answer, ContractCourtError):
            raise answer
        return encode(answer)

    def sign_many(body: bytes) -> bytes:
        answers = _signed(signer, decode(body, list[SigningRequest]))
        return encode([_in_words(answer) for answer in answers])

    def points(body: bytes) -> bytes:
        return encode(signer.local_point(decode(body, PointRequest)))

    def keys(body: bytes) -> bytes:
        imported = signer.import_keys(body)
        _log.info("imported keys", what=imported)
        return encode({"imported": imported})

    def route(path: str, work: Work) -> Route:
        async def endpoint(request: Request) -> Response:
            return await _answer(request, token, work)

        return Route(path, endpoint, methods=["POST"])

    return Starlette(
        routes=[
            route("/v1/sign", sign),
            route("/v1/sign-many", sign_many),
            route("/v1/points", points),
            route("/v1/keys", keys),
            Route("/healthz", _healthz, methods=["GET"]),
        ]
    )


def _signed(
    signer: Signer, requests: Sequence[SigningRequest]
) -> list[SignedTransaction | ContractCourtError]:
    """Each request's transaction, or why there is none; every one is logged."""
    reach(CrashPoint.SIGNER_ASKED)
    answers = signer.sign_many(requests)
    for request, answer in zip(requests, answers, strict=True):
        if isinstance(answer, SignedTransaction):
            _log.info("signed", txid=str(answer.txid), **_about(request))
        elif isinstance(answer, SigningRefused | ValueUnproved):
            _, reason, _ = _known_problem(answer)
            _log.warning("refused to sign", reason=reason, **_about(request))
    reach(CrashPoint.SIGNER_BEFORE_ANSWER)
    return answers


def _in_words(answer: SignedTransaction | ContractCourtError) -> SigningAnswer:
    if isinstance(answer, SignedTransaction):
        return SigningAnswer(signed=answer)
    status, name, detail = _known_problem(answer)
    return SigningAnswer(problem=SigningProblem(PROBLEM_TYPE + name, status.value, detail))


def _about(request: SigningRequest) -> dict[str, object]:
    return {
        "channel_points": sorted({str(channel.channel_point) for channel in request.channels}),
        "node": request.node,
        "purpose": request.purpose.value,
    }


async def _healthz(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _answer(request: Request, token: str, work: Work) -> Response:
    """Let `work` answer one authorised body of a fitting size, and every error be a problem."""
    if not _authorised(request, token):
        return _problem(HTTPStatus.UNAUTHORIZED, "unauthorised", "send the signer's bearer token")
    try:
        body = await _body(request)
        if body is None:
            return _problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "body-too-large",
                f"a body is at most {MAX_BODY_BYTES} bytes",
            )
        answer = await run_in_threadpool(work, body)
    except ClientDisconnect:
        return Response(status_code=HTTPStatus.BAD_REQUEST)
    except (ContractCourtError, DatabaseError) as error:
        return _problem(*_known_problem(error))
    except Exception as error:
        _log.error("unexpected error", error=type(error).__name__, where=_where(error))
        return _problem(
            HTTPStatus.INTERNAL_SERVER_ERROR, "signer-error", "the signer failed; see its log"
        )
    return Response(answer, media_type="application/json")


def _authorised(request: Request, token: str) -> bool:
    given = request.headers.get("authorization", "").encode("utf-8", "surrogateescape")
    return hmac.compare_digest(given, f"Bearer {token}".encode())


async def _body(request: Request) -> bytes | None:
    """The body, or None as soon as it is longer than `MAX_BODY_BYTES`."""
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > MAX_BODY_BYTES:
            return None
    return bytes(parts)


def _known_problem(error: Exception) -> tuple[HTTPStatus, str, str]:
    """Status, the name that ends the problem's type, and detail."""
    if isinstance(error, SigningRefused):
        return HTTPStatus.FORBIDDEN, error.reason.value, str(error)
    for kind, status, name in _ANSWERS:
        if isinstance(error, kind):
            return status, name, str(error)
    _log.error("database error", error=type(error).__name__, where=_where(error))
    detail = "Postgres did not answer: try again"
    return HTTPStatus.SERVICE_UNAVAILABLE, "database-unavailable", detail


def _where(error: Exception) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-6:]]


def _problem(status: HTTPStatus, name: str, detail: str) -> Response:
    return JSONResponse(
        {
            "type": f"{PROBLEM_TYPE}{name}",
            "title": status.phrase,
            "status": status.value,
            "detail": detail,
        },
        status_code=status.value,
        media_type=_PROBLEM_MEDIA_TYPE,
    )


def _payable(listed: str | None) -> frozenset[Script] | None:
    """The scripts that a setting lists. Raises SettingsError."""
    if listed is None:
        return None
    try:
        scripts = frozenset(Script.parse(one.strip()) for one in listed.split(","))
    except ValueError:
        scripts = frozenset()
    if not scripts or not all(is_standard_sweep(script) for script in scripts):
        raise SettingsError(
            f"{PREFIX}SIGNER_SWEEP_SCRIPTS is no list of scriptPubKeys (P2WPKH, P2WSH, P2TR, P2PKH "
            "or P2SH, in hex, separated by commas)"
        )
    return scripts


def _check_seal(database: Database, keyring: KeyRing) -> None:
    """With another key it could sign nothing, and what it seals would be lost with that key."""
    try:
        with database.transaction() as conn:
            keyring.check_opens(conn)
    except DatabaseError as error:
        _log.warning("the seal key was not tried on the vault", error=type(error).__name__)


def run(settings: Settings) -> None:
    """Serve until a signal ends it.

    Raises:
        SettingsError: a setting is missing or makes no sense.
        SealKeyFileError: the seal key file cannot be used.
        WrongSealKey: it holds another key than the vault was sealed with.
        CannotListen: the port is taken.
    """
    # A core file of this process would hold every key it has used.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seal = Seal(load_seal_key(settings.required_seal_key_file))
    database = Database(settings.required_database_url, application_name="contractcourt-signer")
    payable = _payable(settings.signer_sweep_scripts)
    keyring = KeyRing(seal, mainnet=settings.network == "main", payable=payable)
    _check_seal(database, keyring)
    signer = Signer(database, keyring)
    app = create_app(signer, settings.required_signer_token)
    consensus.load()
    collect_seldom()
    config = uvicorn.Config(
        app,
        host=settings.signer_host,
        port=settings.signer_port,
        log_config=None,
        access_log=False,
        server_header=False,
    )
    with closing(database):
        listening.serve(uvicorn.Server(config))
