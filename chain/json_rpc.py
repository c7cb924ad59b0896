"""Bitcoin Core's JSON-RPC over one kept-alive connection a thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx2

from chain.errors import ChainUnavailable, RpcRefused, WrongCredentials

_UNAUTHORIZED = (401, 403)


class JsonRpc:
    """Calls and batches. `url` may carry `user:password@`."""

    def __init__(self, url: str, *, timeout_seconds: float = 30.0) -> None:
        self._client = httpx2.Client(base_url=url, timeout=timeout_seconds, trust_env=False)

    def call(self, method: str, *params: Any) -> Any:
        """The result. Raises RpcRefused, ChainUnavailable or WrongCredentials."""
        answer = self._post({"jsonrpc": "1.0", "id": 0, "method": method, "params": list(params)})
        return _result(method, answer)

    def batch(self, method: str, calls: Sequence[Sequence[Any]]) -> list[Any | RpcRefused]:
        """One answer for each list of parameters; an error is that call's answer."""
        if not calls:
            return []
        body = [
            {"jsonrpc": "1.0", "id": number, "method": method, "params": list(params)}
            for number, params in enumerate(calls)
        ]
        answers = {answer["id"]: answer for answer in self._post(body)}
        return [_answer(method, answers[number]) for number in range(len(calls))]

    def get(self, path: str) -> bytes | None:
        """The body of a REST call; None when the node does not serve it."""
        try:
            answer = self._client.get(path)
        except httpx2.HTTPError as error:
            raise ChainUnavailable(f"the Bitcoin node does not answer: {error}") from error
        return answer.content if answer.status_code == httpx2.codes.OK else None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _post(self, body: Any) -> Any:
        try:
            answer = self._client.post("/", json=body)
        except httpx2.HTTPError as error:
            raise ChainUnavailable(f"the Bitcoin node does not answer: {error}") from error
        if answer.status_code in _UNAUTHORIZED:
            raise WrongCredentials
        try:
            return answer.json()
        except ValueError as error:
            text = f"the Bitcoin node answered HTTP {answer.status_code} without JSON"
            raise ChainUnavailable(text) from error


def _answer(method: str, answer: dict[str, Any]) -> Any | RpcRefused:
    try:
        return _result(method, answer)
    except RpcRefused as refused:
        return refused


def _result(method: str, answer: dict[str, Any]) -> Any:
    error = answer.get("error")
    if error is not None:
        raise RpcRefused(method, int(error.get("code", 0)), str(error.get("message", "")))
    return answer["result"]
