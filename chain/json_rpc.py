"""Bitcoin Core's JSON-RPC and REST over kept-alive connections.

Every call that the court makes may be made twice, so a connection that breaks is tried again a
few times; an answer, whatever it says, never is. Numbers with a point are read as decimals, so
that no amount passes through a float.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpcore2
import httpx2
import stamina

from chain.errors import ChainUnavailable, NodeStarting, RpcRefused, WrongCredentials
from chain.sense import in_words
from chain.timed_network import TimedNetwork

_IN_WARMUP = -28
_CALLS_A_BATCH = 500
#: An answer may take as long as a call, and so much longer as it is larger: a full block in hex
#: five minutes, over the slowest line that keeps up with the chain at all. The leading watcher
#: waits for it, and no other one leads meanwhile.
_BYTES_A_SECOND = 16_384
_LONGEST_TIMES = 10
#: A node closes a connection that is idle for thirty seconds.
_KEPT_SECONDS = 5.0
#: A broken connection, not a slow answer: that one has had its time.
_WORTH_RETRYING = (httpx2.NetworkError, httpx2.RemoteProtocolError)
_FORBIDDEN = "the Bitcoin node lets this host or this call not in: see rpcallowip and rpcwhitelist"


class JsonRpc:
    """Calls and batches. `url` may carry `user:password@`; else `cookie_file` tells them.
    `timeout_seconds` is for a whole small answer; ten times as long for the largest.

    A cookie changes with every start of the node, so it is read again when it is refused.
    Raises ChainUnavailable when `url` is none.
    """

    def __init__(
        self, url: str, *, cookie_file: Path | None = None, timeout_seconds: float = 30.0
    ) -> None:
        self._cookie_file = cookie_file
        self._timeout_seconds = timeout_seconds
        self._network = TimedNetwork(bytes_a_second=_BYTES_A_SECOND)
        try:
            self._client = httpx2.Client(
                base_url=url,
                timeout=timeout_seconds,
                transport=_Transport(self._network),
                trust_env=False,
            )
        except httpx2.InvalidURL as error:
            raise ChainUnavailable(f"BITCOIND_URL is no URL: {error}") from error
        self._auth: httpx2.BasicAuth | None = None
        self._retry = stamina.RetryingCaller(
            attempts=3, timeout=timeout_seconds, wait_initial=0.05, wait_max=1.0, wait_jitter=0.1
        )

    def call(self, method: str, *params: Any, timeout_seconds: float | None = None) -> Any:
        """The result. Raises RpcRefused, ChainUnavailable or WrongCredentials."""
        body = {"jsonrpc": "1.0", "id": 0, "method": method, "params": list(params)}
        answer = self._post(body, timeout_seconds)
        return _result(method, _as_object(answer))

    def batch(self, method: str, calls: Sequence[Sequence[Any]]) -> list[Any | RpcRefused]:
        """One answer for each list of parameters; an error is that call's answer."""
        answers: list[Any | RpcRefused] = []
        for start in range(0, len(calls), _CALLS_A_BATCH):
            answers += self._one_batch(method, calls[start : start + _CALLS_A_BATCH])
        return answers

    def _one_batch(self, method: str, calls: Sequence[Sequence[Any]]) -> list[Any | RpcRefused]:
        body = [
            {"jsonrpc": "1.0", "id": number, "method": method, "params": list(params)}
            for number, params in enumerate(calls)
        ]
        told = self._post(body)
        if not isinstance(told, list):
            # The node refused the batch as a whole, and says why as in a single call.
            _result(method, _as_object(told))
            raise ChainUnavailable(f"{method}: the Bitcoin node did not answer a batch with one")
        answers = {answer.get("id"): answer for answer in map(_as_object, told)}
        if any(number not in answers for number in range(len(calls))):
            raise ChainUnavailable(f"{method}: the Bitcoin node left a part of a batch unanswered")
        return [_answer(method, answers[number]) for number in range(len(calls))]

    def get(self, path: str) -> bytes | None:
        """The body of a REST call; None when the node does not serve it."""
        answer = self._send(lambda: self._client.get(path), self._timeout_seconds)
        return answer.content if answer.status_code == httpx2.codes.OK else None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _post(self, body: Any, timeout_seconds: float | None = None) -> Any:
        content = json.dumps(body, separators=(",", ":")).encode()
        answer = self._post_with_login(content, timeout_seconds)
        if answer.status_code == httpx2.codes.UNAUTHORIZED and self._cookie_file is not None:
            self._auth = None
            answer = self._post_with_login(content, timeout_seconds)
        if answer.status_code == httpx2.codes.UNAUTHORIZED:
            raise WrongCredentials
        if answer.status_code == httpx2.codes.FORBIDDEN:
            raise WrongCredentials(_FORBIDDEN)
        try:
            return json.loads(answer.content, parse_float=Decimal)
        except (ValueError, RecursionError) as error:
            text = f"the Bitcoin node answered HTTP {answer.status_code} without JSON"
            raise ChainUnavailable(text) from error

    def _post_with_login(self, content: bytes, timeout_seconds: float | None) -> httpx2.Response:
        if self._auth is None and self._cookie_file is not None:
            self._auth = _read_cookie(self._cookie_file)
        auth = self._auth or httpx2.USE_CLIENT_DEFAULT
        timeout = timeout_seconds or self._timeout_seconds
        return self._send(
            lambda: self._client.post("/", content=content, auth=auth, timeout=timeout), timeout
        )

    def _send(self, request: Callable[[], httpx2.Response], seconds: float) -> httpx2.Response:
        self._network.begin(seconds, seconds * _LONGEST_TIMES)
        try:
            return self._retry(_WORTH_RETRYING, request)
        except httpx2.HTTPError as error:
            words = in_words(error) or type(error).__name__
            raise ChainUnavailable(f"the Bitcoin node does not answer: {words}") from error


class _Transport(httpx2.HTTPTransport):
    """On a network of our own, which httpx2 has no argument for."""

    def __init__(self, network: TimedNetwork) -> None:
        context = httpx2.create_ssl_context(trust_env=False)
        super().__init__(verify=context)
        self._pool = httpcore2.ConnectionPool(
            context, keepalive_expiry=_KEPT_SECONDS, network_backend=network
        )


def _read_cookie(path: Path) -> httpx2.BasicAuth:
    try:
        user, _, password = path.read_text().strip().partition(":")
    except OSError as error:
        text = f"the Bitcoin node's cookie {path} can't be read ({error.strerror}): is it running?"
        raise WrongCredentials(text) from error
    return httpx2.BasicAuth(user, password)


def _as_object(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise ChainUnavailable("the Bitcoin node's answer is no JSON-RPC")
    return answer


def _answer(method: str, answer: dict[str, Any]) -> Any | RpcRefused:
    try:
        return _result(method, answer)
    except RpcRefused as refused:
        return refused


def _result(method: str, answer: dict[str, Any]) -> Any:
    error = answer.get("error")
    if error is None:
        return answer.get("result")
    code, message = int(error.get("code", 0)), in_words(error.get("message", ""))
    if code == _IN_WARMUP:
        # Of the node, not of this call: in a batch too it must not pass for an answer.
        raise NodeStarting(f"the Bitcoin node is still starting: {message}")
    raise RpcRefused(method, code, message)
