"""What every refusal has in common: a typed problem, nothing stored, one more counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from tests.workers.gateway.serving import GatewayClient


def assert_problem(answer: httpx2.Response, status: int, kind: str, *words: str) -> None:
    """The answer is the problem `kind`, and its detail says these words."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "instance"}
    assert problem["type"] == f"urn:contractcourt:problem:{kind}"
    assert problem["status"] == status
    for word in words:
        assert word in problem["detail"]


@contextmanager
def nothing_stored(gateway: GatewayClient, kind: str) -> Iterator[None]:
    """What is inside stores nothing and is counted as refused for `kind`."""
    line = f'contractcourt_webhooks_refused_total{{reason="{kind}"}}'
    stored, counted = gateway.counts(), gateway.metric(line)
    yield
    assert gateway.counts() == stored
    assert gateway.metric(line) == counted + 1
