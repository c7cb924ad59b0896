"""Prometheus: what this process answered, beside the figures of the whole court."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storage.census import Census
from tasks.backlog import Backlog
from tasks.tracing import span
from workers.gateway.court_metrics import CourtCollector
from workers.gateway.problems import PROBLEM_KEY

_WEBHOOK_SUFFIX = "/events"
_WEBHOOK_PREFIX = "/v1/nodes/"
#: A request may name any word as its method, and every label stays for ever.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class GatewayMetrics:
    """The counters of one gateway process and its view of the court."""

    def __init__(self, count: Callable[[], Census], measure: Callable[[], Backlog | None]) -> None:
        self.registry = CollectorRegistry()
        self.accepted = Counter(
            "contractcourt_webhooks_accepted",
            "Webhooks answered with 202",
            ["type", "duplicate"],
            registry=self.registry,
        )
        self.refused = Counter(
            "contractcourt_webhooks_refused",
            "Webhooks refused, by problem name",
            ["reason"],
            registry=self.registry,
        )
        self.requests = Counter(
            "contractcourt_http_requests",
            "HTTP requests answered",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "contractcourt_http_request_seconds",
            "Time from a request's headers to its answer",
            ["route"],
            registry=self.registry,
        )
        self.registry.register(CourtCollector(count, measure))

    def page(self) -> bytes:
        """What Prometheus reads. Raises what the database raises when it is away."""
        return generate_latest(self.registry)


class Counted:
    """ASGI middleware: counts every answer, and every refused webhook by its reason."""

    def __init__(self, app: ASGIApp, metrics: GatewayMetrics, clock: Callable[[], float]) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._clock()
        status = 0

        async def remember(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with span("gateway.request", method=scope["method"]):
                await self._app(scope, receive, remember)
        finally:
            self._count(scope, status, self._clock() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        path = scope["path"]
        problem = scope.get(PROBLEM_KEY)
        if problem and path.startswith(_WEBHOOK_PREFIX) and path.endswith(_WEBHOOK_SUFFIX):
            self._metrics.refused.labels(problem).inc()
