"""Prometheus: figures of the whole court, from one snapshot of its tables and from its broker.

They are counted in Postgres, so they are right whatever was killed in between and however many
processes write (users_ask C15); every gateway tells the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from storage.census import Census
from tasks.backlog import Backlog

Counts = Mapping[str, float]


class CourtCollector(Collector):
    """One set of figures a scrape. `measure` answers None while the broker is away."""

    def __init__(self, count: Callable[[], Census], measure: Callable[[], Backlog | None]) -> None:
        self._count = count
        self._measure = measure

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time: registering must not need a database."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Everything, from one snapshot."""
        census = self._count()
        yield from _docket(census)
        yield from _channels(census)
        yield from _money(census)
        yield from _letters(census)
        yield from _watcher(census)
        yield from _postgres(census)
        yield from _broker(self._measure())


def _docket(census: Census) -> Iterable[Metric]:
    yield _counters(
        "contractcourt_docket_entries", "Docket entries by kind", "kind", census.docket_entries
    )
    yield _lag(census)
    yield _gauge(
        "contractcourt_docket_unapplied", "Docket entries not yet applied", census.unapplied
    )
    yield _gauge(
        "contractcourt_docket_unapplied_oldest_seconds",
        "Age of the oldest docket entry not yet applied",
        census.oldest_unapplied_seconds,
    )


def _lag(census: Census) -> Metric:
    """Its count is the number of applied events."""
    bounds = sorted(census.applied_within, key=float)
    total, buckets = 0, []
    for bound in bounds:
        total += census.applied_within[bound]
        buckets.append((bound, float(total)))
    if not bounds or bounds[-1] != "+Inf":
        buckets.append(("+Inf", float(total)))
    return HistogramMetricFamily(
        "contractcourt_event_lag_seconds",
        "Time from a docket entry's commit (a block's, a webhook's) to the commit that applied it",
        buckets=buckets,
        sum_value=census.applied_after_seconds,
    )


def _channels(census: Census) -> Iterable[Metric]:
    yield _gauges("contractcourt_channels", "Channels by state", "state", census.channels)
    yield _gauges(
        "contractcourt_broadcasts", "Open broadcasts by last outcome", "outcome", census.broadcasts
    )
    yield _gauges(
        "contractcourt_broadcasts_settled",
        "Broadcasts that the chain has settled, or that were given up, by state",
        "state",
        census.broadcasts_settled,
    )
    yield _gauges("contractcourt_alarms_open", "Open alarms by kind", "kind", census.alarms)
    yield _counters(
        "contractcourt_alarms_raised", "Alarms ever raised, by kind", "kind", census.alarms_raised
    )
    yield _counter(
        "contractcourt_signer_refusals",
        "Requests that the signer refused, or whose signature the script engine did",
        census.signer_refusals,
    )


def _money(census: Census) -> Iterable[Metric]:
    yield _gauges(
        "contractcourt_deadlines_due",
        "Deadlines of the next blocks: 0 are those due now",
        "within_blocks",
        census.deadlines,
    )
    yield _gauges(
        "contractcourt_value_at_risk_sat",
        "Value that waiting so long would lose: HTLCs that are due, sweeps that are not mined",
        "within_blocks",
        census.at_risk_sat,
    )
    yield _gauges(
        "contractcourt_fee_wallet_sat",
        "Confirmed coins of a node's fee wallet",
        "node",
        census.fee_wallet_sat,
    )
    yield _gauges(
        "contractcourt_fee_wallet_reserve_sat",
        "What the node's channels with anchors ask to be kept there",
        "node",
        census.fee_wallet_reserve_sat,
    )


def _letters(census: Census) -> Iterable[Metric]:
    yield _gauges("contractcourt_outbox_unsent", "Unsent effects by kind", "kind", census.outbox)
    yield _counters(
        "contractcourt_webhooks_sent",
        "Webhooks sent to nodes and the operator, by what became of them",
        "fate",
        census.webhooks_sent,
    )
    yield _gauges(
        "contractcourt_dead_letters",
        "Webhooks that were given up and wait for an operator",
        "endpoint",
        census.dead_letters,
    )
    yield _gauges(
        "contractcourt_endpoint_silent_rounds",
        "How often in a row an endpoint of webhooks did not answer",
        "endpoint",
        census.silent_rounds,
    )


def _watcher(census: Census) -> Iterable[Metric]:
    figures = (
        ("contractcourt_watcher_height", "Height of the chain cursor", census.watcher_height),
        (
            "contractcourt_watcher_block_age_seconds",
            "How long ago the newest block was followed",
            census.watcher_block_age_seconds,
        ),
        (
            "contractcourt_watcher_epoch",
            "Grows whenever another watcher takes the lead",
            census.watcher_epoch,
        ),
        ("contractcourt_watcher_leads", "1 while some watcher leads", census.watcher_leads),
    )
    for name, text, value in figures:
        if value is not None:
            yield _gauge(name, text, value)


def _postgres(census: Census) -> Iterable[Metric]:
    yield _gauge(
        "contractcourt_postgres_oldest_xmin_age",
        "Transactions since the oldest snapshot that still holds back vacuum, of those seen",
        census.oldest_xmin_age,
    )
    yield _gauge(
        "contractcourt_postgres_oldest_transaction_seconds",
        "Age of the oldest open transaction",
        census.oldest_transaction_seconds,
    )
    yield _gauges(
        "contractcourt_postgres_dead_tuples",
        "Dead rows by table, as Postgres estimates them",
        "table",
        census.dead_tuples,
    )


def _broker(backlog: Backlog | None) -> Iterable[Metric]:
    yield _gauge("contractcourt_broker_up", "1 while Redis answers", int(backlog is not None))
    if backlog is not None:
        yield _gauges(
            "contractcourt_queue_messages", "Wake-ups that wait in Redis", "queue", backlog.queues
        )
        yield _gauge(
            "contractcourt_queue_in_hand", "Wake-ups in the hands of workers", backlog.in_hand
        )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value)


def _gauges(name: str, text: str, label: str, counts: Counts) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def _counters(name: str, text: str, label: str, counts: Counts) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family
