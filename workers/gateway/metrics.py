"""Prometheus: what this process answered, and what the court's tables say now.

Business figures are counted in Postgres when they are asked for, so they are right whatever
was killed in between and however many processes write (users_ask C15).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storage.census import Census
from workers.gateway.problems import PROBLEM_KEY

_WEBHOOK_SUFFIX = "/events"
_WEBHOOK_PREFIX = "/v1/nodes/"


class GatewayMetrics:
    """The counters of one gateway process and its view of the court."""

    def __init__(self, count: Callable[[], Census]) -> None:
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
        self.registry.register(CourtCollector(count))

    def page(self) -> bytes:
        """What Prometheus reads. Raises what the database raises when it is away."""
        return generate_latest(self.registry)


class CourtCollector(Collector):
    """Figures of the whole court, from one snapshot of its tables."""

    def __init__(self, count: Callable[[], Census]) -> None:
        self._count = count

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time: registering must not need a database."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """One set of gauges."""
        census = self._count()
        yield _by("contractcourt_channels", "Channels by state", "state", census.channels)
        yield _by(
            "contractcourt_broadcasts", "Broadcasts by last outcome", "outcome", census.broadcasts
        )
        yield _by("contractcourt_alarms_open", "Open alarms by kind", "kind", census.alarms)
        yield _by("contractcourt_outbox_unsent", "Unsent effects by kind", "kind", census.outbox)
        yield GaugeMetricFamily(
            "contractcourt_docket_unapplied", "Docket entries not yet applied", census.unapplied
        )
        yield GaugeMetricFamily(
            "contractcourt_docket_unapplied_oldest_seconds",
            "Age of the oldest docket entry not yet applied",
            census.oldest_unapplied_seconds,
        )
        if census.watcher_height is not None:
            yield GaugeMetricFamily(
                "contractcourt_watcher_height", "Height of the chain cursor", census.watcher_height
            )


def _by(name: str, text: str, label: str, counts: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


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
            await self._app(scope, receive, remember)
        finally:
            self._count(scope, status, self._clock() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.requests.labels(scope["method"], route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        path = scope["path"]
        problem = scope.get(PROBLEM_KEY)
        if problem and path.startswith(_WEBHOOK_PREFIX) and path.endswith(_WEBHOOK_SUFFIX):
            self._metrics.refused.labels(problem).inc()
