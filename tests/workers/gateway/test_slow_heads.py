"""Connections that never say what they want are ended; those that do are served as ever."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi import FastAPI

from tests.workers.gateway.serving import serving
from workers.gateway import heads
from workers.gateway.app import server_config

_SECONDS = 0.4


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A gateway's server over an application that takes its time."""
    monkeypatch.setattr(heads, "HEAD_SECONDS", _SECONDS)
    app = FastAPI()

    @app.get("/slow")
    def slow() -> str:
        time.sleep(2 * _SECONDS)
        return "answered"

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
