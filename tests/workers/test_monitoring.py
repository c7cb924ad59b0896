"""The alert rules and the dashboard ask for what `/metrics` tells, and for nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from contractcourt.alarms import AlarmKind
from contractcourt.events import PublishOutcome
from docs.generate import metrics as sample

MONITORING = Path(__file__).parent.parent.parent / "deploy" / "monitoring"
_SELECTOR = re.compile(r"(contractcourt_\w+)(?:\{([^}]*)\})?")
_LABEL = re.compile(r'(\w+)(=~|=)"([^"]*)"')

#: Kinds whose cause is a series of its own: the rule that watches it.
_BY_A_FIGURE = {
    AlarmKind.FEE_WALLET_RESERVE: "ContractCourtFeeWalletShort",
    AlarmKind.NO_NEW_BLOCK: "ContractCourtNoBlock",
    AlarmKind.DOCKET_STALLED: "ContractCourtEventsWait",
    AlarmKind.ENDPOINT_SILENT: "ContractCourtEndpointSilent",
    AlarmKind.DEAD_LETTER: "ContractCourtDeadLetters",
}


def alerts() -> list[dict[str, Any]]:
    loaded = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    return loaded


def queries() -> list[str]:
    asked = [rule["expr"] for rule in alerts()]
    return asked + [target["expr"] for panel in panels() for target in panel["targets"]]


@pytest.fixture(scope="module")
def told() -> dict[str, set[str]]:
    """Every series of `/metrics`, with its labels."""
    found: dict[str, set[str]] = {}
    for family, labels in sample.families():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
        for suffix in suffixes.get(family.type, [""]):
            found[family.name + suffix] = {*labels, "le"} if suffix == "_bucket" else set(labels)
    return found


@pytest.mark.parametrize("query", queries())
def test_every_series_and_label_that_is_asked_for_is_told(
    query: str, told: dict[str, set[str]]
) -> None:
    selectors = _SELECTOR.findall(query)
    assert selectors
    for name, chosen in selectors:
        assert name in told, name
        for label, _, _ in _LABEL.findall(chosen):
            assert label in told[name], f"{name} has no label {label}"
    known = set().union(*(told[name] for name, _ in selectors))
    for by in re.findall(r"by \(([^)]*)\)", query):
        assert {label.strip() for label in by.split(",")} <= known, query


def test_every_figure_is_on_the_dashboard_or_watched(told: dict[str, set[str]]) -> None:
    asked = {name for query in queries() for name, _ in _SELECTOR.findall(query)}
    bases = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in asked}
    forgotten = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in told} - bases
    assert forgotten == set()


def test_every_value_that_is_chosen_by_exists() -> None:
    values: dict[str, Iterable[object]] = {
        "kind": AlarmKind,
        "outcome": PublishOutcome,
        "within_blocks": ("0", "6"),
    }
    for query in queries():
        for _, chosen in _SELECTOR.findall(query):
            for label, how, value in _LABEL.findall(chosen):
                wanted = set(value.split("|")) if how == "=~" else {value}
                assert wanted <= {str(one) for one in values[label]}, query


def test_every_kind_of_alarm_alerts_once() -> None:
    """A new kind is a page, a warning, or told by a figure of its own: somebody has to choose."""
    names = {rule["alert"] for rule in alerts()}
    assert set(_BY_A_FIGURE.values()) <= names
    chosen = [
        kind
        for rule in alerts()
        for _, labels in _SELECTOR.findall(rule["expr"])
        for label, _, value in _LABEL.findall(labels)
        if label == "kind"
        for kind in value.split("|")
    ]
    assert sorted([*chosen, *_BY_A_FIGURE]) == sorted(AlarmKind)


def test_alerts_say_what_happened_and_what_to_do() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names))
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "warn")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_panels_stand_side_by_side_and_have_ids_of_their_own() -> None:
    assert len({panel["id"] for panel in panels()}) == len(panels())
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
