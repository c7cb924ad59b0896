"""Whatever the API answers is an answer that its own document has."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx2
import pytest

from storage.database import Database
from tests.storage.examples import WEBHOOK_SEAL
from tests.workers.gateway.serving import OPERATOR_TOKEN, VIEWER_TOKEN, serving
from workers.gateway import limits
from workers.gateway.access import Access
from workers.gateway.app import create_app, metrics_of
from workers.gateway.court import Court
from workers.gateway.rates import Rate, Rates

_POINT = f"{'ab' * 32}:0"
_IN_A_PATH = {"cp": _POINT, "node": "alice", "letter_id": "7"}
_MOST_BYTES = 2_000
OPERATOR = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
VIEWER = {"Authorization": f"Bearer {VIEWER_TOKEN}"}
EVERY_KIND = ("GET", "POST")


@contextmanager
def asked(db: Database, *, refusals: float = 1_000) -> Iterator[httpx2.Client]:
    """A gateway that lets no stranger read."""
    court = Court(
        db=db,
        access=Access(OPERATOR_TOKEN, VIEWER_TOKEN, protect_reads=True),
        metrics=metrics_of(db),
        wake=lambda _: None,
        max_body_bytes=_MOST_BYTES,
        webhook_seal=WEBHOOK_SEAL,
        rates=Rates(strangers=Rate(0.01, refusals)),
    )
    with serving(create_app(court)) as url, httpx2.Client(base_url=url, timeout=30) as http:
        yield http


def operations(http: httpx2.Client) -> list[tuple[str, str, dict[str, Any]]]:
    """Every method, path and answers of the document."""
    document = http.get("/openapi.json").json()
    return [
        (method.upper(), path, operation["responses"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def missing(http: httpx2.Client, *methods: str, **request: Any) -> list[str]:
    """Answers to this request, at every path of these methods, that the document has not."""
    found = []
    for method, path, answers in operations(http):
        if method not in methods:
            continue
        answer = http.request(method, path.format(**_IN_A_PATH), **request)
        kind = answer.headers["content-type"]
        known = answers.get(str(answer.status_code))
        if known is None or (answer.is_error and kind not in known.get("content", {})):
            found.append(f"{method} {path} {answer.status_code} {kind}")
    return found


@pytest.mark.parametrize("headers", [{}, VIEWER, OPERATOR])
def test_to_anybody_about_what_there_is_not(db: Database, headers: dict[str, str]) -> None:
    with asked(db) as http:
        assert missing(http, *EVERY_KIND, headers=headers) == []


def test_while_the_database_is_away() -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    with closing(Database(nowhere, wait_seconds=0.2)) as db, asked(db) as http:
        assert missing(http, *EVERY_KIND, headers=OPERATOR) == []


def test_to_a_body_that_is_too_large_or_none(db: Database) -> None:
    with asked(db) as http:
        for content in (b"x" * (_MOST_BYTES + 1), b"{", b"[]"):
            headers = {**OPERATOR, "Content-Type": "application/json"}
            assert missing(http, "POST", headers=headers, content=content) == []


def test_to_a_body_that_is_too_slow(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_BODY_SECONDS", 0.1)

    def slowly() -> Iterator[bytes]:
        time.sleep(0.5)
        yield b"{}"

    with asked(db) as http:
        for method, path, answers in operations(http):
            if method == "POST":
                url = path.format(**_IN_A_PATH)
                answer = http.request(method, url, headers=OPERATOR, content=slowly())
                assert answer.status_code == 408
                assert "408" in answers, path


def test_to_who_was_refused_too_often(db: Database) -> None:
    with asked(db, refusals=1) as http:
        document = operations(http)
        assert http.get("/v1/channels").status_code == 401
        assert http.get("/v1/channels").status_code == 429
        unknown = [
            path
            for method, path, answers in document
            if str(http.request(method, path.format(**_IN_A_PATH)).status_code) not in answers
        ]
        assert unknown == []
