"""Whatever bytes come, the parser answers with a webhook or with a typed problem."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contractcourt.channel import Direction
from contractcourt.units import Txid
from tests.workers.gateway.serving import channel_of, updates_of
from workers.gateway.payloads import parse_webhook
from workers.gateway.problems import Problem
from workers.simulation.feed import opened_data

KINDS = {"read", "malformed-json", "unknown-event-type", "invalid-fields", "invalid-point"}

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def good_webhooks() -> Iterator[dict[str, Any]]:
    """One of each kind, as a node would send it."""
    sim = channel_of()
    htlc = sim.htlc(1, Direction.OFFERED, 20_000_000, 700)
    point = str(sim.funding_outpoint)
    first, moved = sim.first_update(), sim.whole_move(1_000_000, htlc)
    datas = {
        "channel.opened": opened_data(sim.channel),
        "channel.updated": updates_of(sim, first, *moved),
        "preimage.learned": {
            "payment_hash": str(htlc.payment_hash),
            "preimage": str(sim.preimage(1)),
        },
        "force_close.requested": {"channel_point": point, "reason": "fee"},
        "channel.funding_replaced": {
            "channel_point": point,
            "funding_txid_candidates": [str(Txid(bytes(32)))],
        },
    }
    for kind, data in datas.items():
        # Through JSON, so that there are lists and no tuples.
        yield json.loads(
            json.dumps({"type": kind, "timestamp": "2026-01-01T00:00:00Z", "data": data})
        )


GOOD = list(good_webhooks())


def assert_read_or_refused(body: bytes) -> None:
    """Nothing but a typed problem comes out."""
    kind = "read"
    try:
        parse_webhook(body)
    except Problem as problem:
        kind = problem.kind
    assert kind in KINDS


@pytest.mark.parametrize("webhook", GOOD, ids=lambda webhook: webhook["type"])
def test_what_a_node_sends_is_read(webhook: dict[str, Any]) -> None:
    assert parse_webhook(json.dumps(webhook).encode()).type == webhook["type"]


@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    assert_read_or_refused(body)


@given(ANY_JSON)
def test_any_json(value: Any) -> None:
    assert_read_or_refused(json.dumps(value).encode())


@given(st.sampled_from(GOOD), ANY_JSON)
def test_any_data_under_a_known_type(webhook: dict[str, Any], data: Any) -> None:
    assert_read_or_refused(json.dumps({**webhook, "data": data}).encode())


@given(st.sampled_from(GOOD), st.data())
def test_one_value_spoiled(webhook: dict[str, Any], draw: st.DataObject) -> None:
    spoiled = copy.deepcopy(webhook)
    holder, key = draw.draw(st.sampled_from(list(places(spoiled))))
    if draw.draw(st.booleans()):
        holder[key] = draw.draw(ANY_JSON)
    else:
        del holder[key]
    assert_read_or_refused(json.dumps(spoiled).encode())


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) inside a JSON value."""
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", 2**48),
        ("number", -1),
        ("feerate_per_kw", 2**32),
        ("to_local_msat", 21_000_000 * 10**11 + 1),
        ("to_local_msat", -1),
        ("remote_signature", "11" * 63),
        ("tx", ""),
        ("htlcs", [{}]),
    ],
)
def test_a_commitment_beyond_its_ranges(name: str, value: Any) -> None:
    webhook = copy.deepcopy(GOOD[1])
    webhook["data"]["updates"][0]["local_commitment"][name] = value
    with pytest.raises(Problem) as refused:
        parse_webhook(json.dumps(webhook).encode())
    assert f"data.updates.0.local_commitment.{name}" in str(refused.value.detail)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"updates": []},
        {"updates": [{}]},
        {"updates": [{"revoked_secret": {"number": 0, "secret": "11" * 32}}], "revoked_secret": {}},
    ],
    ids=["nothing", "no-steps", "empty-step", "both-forms"],
)
def test_an_update_says_something_in_one_form(data: dict[str, Any]) -> None:
    webhook = {**GOOD[1], "data": {"channel_point": f"{'ab' * 32}:0", **data}}
    with pytest.raises(Problem):
        parse_webhook(json.dumps(webhook).encode())


def test_a_refusal_is_short_however_long_the_mistake() -> None:
    long = "x" * 100_000
    webhook = {**GOOD[3], "data": {long: 1, "channel_point": long, "reason": long}}
    for body in (webhook, {**webhook, "type": long}):
        with pytest.raises(Problem) as refused:
            parse_webhook(json.dumps(body).encode())
        assert len(refused.value.detail) < 2_000
