"""`reference/metrics.md`: what Prometheus reads at `/metrics`, out of the collectors themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase

from docs.generate.markdown import code, page, table
from storage.census import Census
from tasks.backlog import Backlog
from workers.gateway.metrics import GatewayMetrics

_INTRODUCTION = """\
The gateway serves them at `/metrics`. Figures of the court are counted in Postgres when they are
asked for: they are right whatever was killed in between, and every gateway gives the same, so take
`max` over gateways, not `sum`. Figures of one process are that gateway's own: take `sum`."""
_COLUMNS = ("metric", "type", "labels", "meaning")


def write() -> str:
    """The page."""
    metrics = GatewayMetrics(_census, lambda: Backlog({"1": 1}, 1))
    own = [one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)]
    described = {family.name for one in own for family in one.describe()}
    court = [family for family in metrics.registry.collect() if family.name not in described]
    return page(
        "Metrics",
        "`workers/gateway/metrics.py`",
        _INTRODUCTION,
        "## Of the court",
        table(_COLUMNS, (_row(family, _labels(family)) for family in court)),
        "## Of one process",
        table(
            _COLUMNS,
            (_row(family, one._labelnames) for one in own for family in one.describe()),
        ),
    )


def families() -> Iterator[tuple[Metric, tuple[str, ...]]]:
    """Every family of `/metrics` with its labels, of the court and of one process."""
    metrics = GatewayMetrics(_census, lambda: Backlog({"1": 1}, 1))
    own = [one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)]
    described = {family.name: one._labelnames for one in own for family in one.describe()}
    for family in metrics.registry.collect():
        yield family, described.get(family.name) or _labels(family)


def _row(family: Metric, labels: tuple[str, ...]) -> tuple[str, str, str, str]:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return code(name), family.type, ", ".join(map(code, labels)), family.documentation


def _labels(family: Metric) -> tuple[str, ...]:
    return tuple({label: None for sample in family.samples for label in sample.labels})


def _census() -> Census:
    """One of everything that can be counted."""
    hints = get_type_hints(Census)
    return Census(**{field.name: _one(hints[field.name]) for field in fields(Census)})


def _one(kind: Any) -> Any:
    if get_origin(kind) is UnionType:
        return _one(next(part for part in get_args(kind) if part is not NoneType))
    if get_origin(kind) is dict:
        return {_one(get_args(kind)[0]): _one(get_args(kind)[1])}
    return kind(1)
