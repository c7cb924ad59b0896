"""Connections that never say what they want, or take no answer, are ended; others are served."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response

from tests.workers.gateway.serving import serving
from workers.gateway import heads
from workers.gateway.app import server_config
from workers.gateway.limits import BodyLimit

_SECONDS = 0.4
#: More than both ends of a connection hold back for each other.
_LARGE = 32 * 1_048_576


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A gateway's server over an application that takes its time."""
    monkeypatch.setattr(heads, "HEAD_SECONDS", _SECONDS)
    monkeypatch.setattr(heads, "TAKING_SECONDS", _SECONDS)
    app = FastAPI()
    # As in the gateway: whoever goes away amid a body is no error of the application.
    app.add_middleware(BodyLimit, max_bytes=1_000)

    @app.get("/slow")
    def slow() -> str:
        time.sleep(2 * _SECONDS)
        return "answered"

    @app.post("/told")
    async def told(request: Request) -> int:
        return len(await request.body())

    @app.get("/large")
    def large() -> Response:
        return Response(bytes(_LARGE))

    with serving(app, server_config(app, "127.0.0.1", 0)) as served:
        yield served


@pytest.mark.parametrize("before", [b"", b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"])
@pytest.mark.parametrize("letter", [b"", b"G"], ids=["silent", "dripping"])
def test_a_connection_without_a_request_is_ended(url: str, before: bytes, letter: bytes) -> None:
    """Its first request, and any later one."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 0), 5) as client:
        client.sendall(before)
        if before:
            read_answer(client)
        client.settimeout(0.1)
        ends_at = time.monotonic() + 20 * _SECONDS
        while time.monotonic() < ends_at:
            try:
                client.sendall(letter)
                if client.recv(1000) == b"":
                    return
            except TimeoutError:
                continue
            except OSError:
                return
    pytest.fail("still open")


@pytest.mark.parametrize(
    "said",
    [b"", b"POST /told HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"],
    ids=["head", "body"],
)
def test_a_crowd_that_does_not_get_to_its_requests_shuts_nobody_out(
    url: str, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    """Each held a file for half a minute, until the process had none left."""
    monkeypatch.setattr(heads, "HEAD_SECONDS", 600)
    monkeypatch.setattr(heads, "MOST_SPEAKING", 5)
    address = urlsplit(url)
    with ExitStack() as crowd, httpx2.Client(base_url=url) as client:
        silent = []
        for _ in range(20):
            one = socket.create_connection((address.hostname or "", address.port or 0), 5)
            silent.append(crowd.enter_context(one))
            one.sendall(said)
        assert client.get("/slow").json() == "answered"
        ended = [one for one in silent if is_ended(one)]
        assert ended == silent[: len(ended)]
        assert len(silent) - len(ended) <= 5


@pytest.mark.parametrize(
    "said",
    [
        b"no request at all\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /told HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n",
    ],
    ids=["words", "no host", "no chunk"],
)
def test_what_is_no_http_is_refused_as_all_else_is(url: str, said: bytes) -> None:
    """It was told so in plain text, as nothing else is."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 0), 5) as client:
        client.sendall(said)
        head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request")
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["type"] == "urn:contractcourt:problem:malformed-request"


def is_ended(client: socket.socket) -> bool:
    """Whether the other side has let go of it."""
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def read_answer(client: socket.socket) -> None:
    """Its head and its body may come one after the other."""
    seen = b""
    while b"answered" not in seen:
        part = client.recv(1000)
        assert part, "ended before the answer"
        seen += part


def test_a_request_is_answered_however_long_it_takes_and_its_connection_kept(url: str) -> None:
    with httpx2.Client(base_url=url) as client:
        for _ in range(3):
            assert client.get("/slow").json() == "answered"


@pytest.mark.parametrize("requests", [1, 2], ids=["one request", "a second one behind it"])
def test_who_takes_nothing_of_an_answer_is_let_go(url: str, requests: int) -> None:
    with asking(url, requests) as client:
        time.sleep(6 * _SECONDS)
        assert taken(client) < _LARGE


def test_so_is_who_takes_hardly_anything_of_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It held the connection, and the memory of its answer, for hours."""
    monkeypatch.setattr(heads, "TAKEN_BYTES", _LARGE)
    with asking(url, 1) as client:
        assert taken(client, pause=_SECONDS / 4) < _LARGE


def test_who_takes_an_answer_slowly_gets_all_of_it(url: str) -> None:
    with asking(url, 1) as client:
        assert taken(client, pause=_SECONDS / 4) > _LARGE


def asking(url: str, requests: int) -> socket.socket:
    """A client that has asked for a large answer and has read nothing."""
    address = urlsplit(url)
    client = socket.create_connection((address.hostname or "", address.port or 0), 5)
    client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * requests)
    return client


def taken(client: socket.socket, pause: float = 0.0) -> int:
    """How much comes until the other side has nothing more to say, a MiB at a time."""
    count = 0
    client.settimeout(2 * _SECONDS)
    with suppress(OSError):
        while part := client.recv(1_048_576, socket.MSG_WAITALL):
            count += len(part)
            time.sleep(pause)
    return count
