"""A Bitcoin node that drips: a call ends in its time, and a large answer gets what it needs."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from chain import json_rpc
from chain.errors import ChainUnavailable
from chain.json_rpc import JsonRpc

_SECONDS = 1.0
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"


@contextmanager
def answering(parts: Iterator[bytes], pause: float) -> Iterator[str]:
    """A node that sends these, one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                for part in parts:
                    try:
                        connection.sendall(part)
                    except OSError:
                        return
                    time.sleep(pause)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://user:password@127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def drips(before: bytes) -> Iterator[bytes]:
    yield before
    while True:
        yield b"x"


@pytest.mark.parametrize(
    "before", [b"HTTP/1.1 200 OK\r\nx-drip: ", _HEAD % 1_000_000], ids=["head", "body"]
)
def test_one_that_drips_its_answer_is_waited_for_as_long_as_one_that_is_silent(
    before: bytes,
) -> None:
    with (
        answering(drips(before), _SECONDS / 10) as url,
        closing(JsonRpc(url, timeout_seconds=_SECONDS)) as rpc,
        pytest.raises(ChainUnavailable),
    ):
        rpc.call("getblockchaininfo")


def whole(result: str, part: int) -> Iterator[bytes]:
    body = json.dumps({"result": result, "error": None, "id": 0}).encode()
    yield _HEAD % len(body)
    for start in range(0, len(body), part):
        yield body[start : start + part]


def test_a_large_answer_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a full block over a slow line does."""
    monkeypatch.setattr(json_rpc, "_BYTES_A_SECOND", 1)
    monkeypatch.setattr(json_rpc, "_LONGEST_TIMES", 100)
    block = "00" * 700
    with (
        answering(whole(block, 200), _SECONDS / 5) as url,
        closing(JsonRpc(url, timeout_seconds=_SECONDS)) as rpc,
    ):
        assert rpc.call("getblock") == block


def test_and_yet_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rpc, "_BYTES_A_SECOND", 1)
    monkeypatch.setattr(json_rpc, "_LONGEST_TIMES", 2)
    with (
        answering(whole("00" * 1_000_000, 200), _SECONDS / 10) as url,
        closing(JsonRpc(url, timeout_seconds=_SECONDS)) as rpc,
        pytest.raises(ChainUnavailable),
    ):
        rpc.call("getblock")
