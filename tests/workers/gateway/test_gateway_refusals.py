"""Bad webhooks: each gets a typed problem, changes nothing, and is counted (promise P10)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.workers.gateway.conftest import MAX_BODY_BYTES
from tests.workers.gateway.refusing import assert_problem, nothing_stored
from tests.workers.gateway.serving import GatewayClient, updates_of
from workers.gateway.signatures import _DECOY_SECRET
from workers.simulation.channel import SimulatedChannel
from workers.simulation.feed import opened_data, update_data

#: 33 bytes that look like a point; x = 5 is on no point of the curve.
NO_POINT = "02" + "05".rjust(64, "0")


def opening(sim: SimulatedChannel, **changes: Any) -> bytes:
    """The body of a channel.opened."""
    data = {**opened_data(sim.channel), **changes}
    body = {"type": "channel.opened", "timestamp": datetime.now(UTC).isoformat(), "data": data}
    return json.dumps(body).encode()


# -- what is no message at all --


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"not json",
        b'{"type": "channel.opened"} trailing',
        b"[" * 5000,
        b'{"a":' * 5000,
        b"1" * 5000,
    ],
    ids=["empty", "cut", "text", "trailing", "deep-list", "deep-object", "huge-number"],
)
def test_malformed_json(gateway: GatewayClient, body: bytes) -> None:
    with nothing_stored(gateway, "malformed-json"):
        answer = gateway.send_raw(body)
    assert_problem(answer, 400, "malformed-json")


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        ('"timestamp": "2026-01-31T12:00:00Z", "timestamp"', "timestamp stands twice"),
        ('"x": NaN, "timestamp"', "NaN is no number"),
        ('"x": [-Infinity], "timestamp"', "-Infinity is no number"),
    ],
)
def test_what_readers_of_json_take_for_different_things(
    gateway: GatewayClient, sim: SimulatedChannel, spoilt: str, words: str
) -> None:
    body = opening(sim).decode().replace('"timestamp"', spoilt, 1)
    with nothing_stored(gateway, "malformed-json"):
        answer = gateway.send_raw(body.encode())
    assert_problem(answer, 400, "malformed-json", words)


def test_a_field_that_is_told_twice_is_named_wherever_it_stands(
    gateway: GatewayClient, sim: SimulatedChannel
) -> None:
    body = opening(sim).decode().replace('"to_self_delay"', '"to_self_delay": 1, "to_self_delay"')
    with nothing_stored(gateway, "malformed-json"):
        answer = gateway.send_raw(body.encode())
    assert_problem(answer, 400, "malformed-json", "to_self_delay stands twice")


def test_a_body_without_a_type_is_told_what_it_lacks(gateway: GatewayClient) -> None:
    with nothing_stored(gateway, "invalid-fields"):
        answer = gateway.send_raw(b"{}")
    assert_problem(answer, 422, "invalid-fields", "type: Field required")


def test_bytes_that_are_no_text(gateway: GatewayClient) -> None:
    with nothing_stored(gateway, "bad-signature"):
        answer = gateway.send_raw(b"\xff\xfe{}")
    assert_problem(answer, 401, "bad-signature")


def test_unsigned(gateway: GatewayClient, sim: SimulatedChannel) -> None:
    with nothing_stored(gateway, "bad-signature"):
        answer = gateway.send_raw(opening(sim), headers={})
    assert_problem(answer, 401, "bad-signature", "webhook-id", "webhook-signature")


@pytest.mark.parametrize("signature", ["v1,AAAA", "nonsense", "v1,!!!", "v1", "v2,AAAA", "v1,é"])
def test_signatures_of_nobody(
    gateway: GatewayClient, sim: SimulatedChannel, signature: str
) -> None:
    headers: dict[str, Any] = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(datetime.now(UTC).timestamp())),
        "webhook-signature": signature.encode(),
    }
    with nothing_stored(gateway, "bad-signature"):
        answer = gateway.send_raw(opening(sim), headers=headers)
    assert_problem(answer, 401, "bad-signature", "secret")


def test_another_nodes_key(gateway: GatewayClient, sim: SimulatedChannel) -> None:
    gateway.add_node("bob", sim.sweep_script)
    with nothing_stored(gateway, "bad-signature"):
        answer = gateway.send_raw(opening(sim), secret=gateway.secrets["bob"])
    assert_problem(answer, 401, "bad-signature")


def test_a_node_without_a_valid_secret_is_spoken_for_by_nobody(
    gateway: GatewayClient, sim: SimulatedChannel
) -> None:
    """However its secrets were taken from it: what stands in for one is public."""
    with gateway.db.transaction() as conn:
        conn.execute("DELETE FROM node_secrets WHERE node = 'alice'")
    with nothing_stored(gateway, "bad-signature"):
        answer = gateway.send_raw(opening(sim), secret=_DECOY_SECRET)
    assert_problem(answer, 401, "bad-signature")


def test_a_body_changed_on_the_way(gateway: GatewayClient, sim: SimulatedChannel) -> None:
    sent: dict[str, str] = {}
    gateway.http.event_hooks["request"] = [lambda request: sent.update(request.headers)]
    gateway.open(sim)
    gateway.http.event_hooks["request"] = []
    headers = {name: sent[name] for name in sent if name.startswith("webhook-")}
    with nothing_stored(gateway, "bad-signature"):
        answer = gateway.send_raw(opening(sim, capacity_sat=5), headers=headers)
    assert_problem(answer, 401, "bad-signature")


@pytest.mark.parametrize("minutes", [-6, 6, -600_000])
def test_replayed_beyond_the_tolerance(
    gateway: GatewayClient, sim: SimulatedChannel, minutes: int
) -> None:
    signed_at = datetime.now(UTC) + timedelta(minutes=minutes)
    with nothing_stored(gateway, "stale-timestamp"):
        answer = gateway.send_raw(opening(sim), signed_at=signed_at)
    assert_problem(answer, 401, "stale-timestamp", "five minutes")


@pytest.mark.parametrize("stamp", ["soon", "nan", "1e400", "2026-01-31T12:00:00Z"])
def test_timestamps_that_are_none(
    gateway: GatewayClient, sim: SimulatedChannel, stamp: str
) -> None:
    headers = {"webhook-id": "m", "webhook-timestamp": stamp, "webhook-signature": "v1,AAAA"}
    with nothing_stored(gateway, "bad-signature"):
        answer = gateway.send_raw(opening(sim), headers=headers)
    assert_problem(answer, 401, "bad-signature", "seconds since 1970")


def test_an_id_without_end(gateway: GatewayClient, sim: SimulatedChannel) -> None:
    with nothing_stored(gateway, "malformed-request"):
        answer = gateway.send_raw(opening(sim), message_id="m" * 257)
    assert_problem(answer, 400, "malformed-request", "webhook-id")


@pytest.mark.parametrize("node", ["nobody", "a" * 300, "%00", "..%2f..", "al%20ice"])
def test_an_unknown_node(gateway: GatewayClient, sim: SimulatedChannel, node: str) -> None:
    headers = {
        "webhook-id": "m",
        "webhook-timestamp": str(int(datetime.now(UTC).timestamp())),
        "webhook-signature": "v1,AAAA",
    }
    before = gateway.counts()
    answer = gateway.send_raw(opening(sim), node=node, headers=headers)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert gateway.counts() == before


# -- what is too much --


def test_a_body_beyond_the_limit(gateway: GatewayClient) -> None:
    with nothing_stored(gateway, "body-too-large"):
        answer = gateway.send_raw(b" " * (MAX_BODY_BYTES + 1))
    assert_problem(answer, 413, "body-too-large", str(MAX_BODY_BYTES))


def test_a_body_that_does_not_say_its_length(gateway: GatewayClient) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 65_536

    with nothing_stored(gateway, "body-too-large"):
        answer = gateway.http.post("/v1/nodes/alice/events", content=chunks())
    assert_problem(answer, 413, "body-too-large")


def test_a_body_at_the_limit_is_read(gateway: GatewayClient) -> None:
    answer = gateway.send_raw(b" " * MAX_BODY_BYTES)
    assert_problem(answer, 400, "malformed-json")


# -- what is no event --


def test_an_unknown_type(gateway: GatewayClient) -> None:
    with nothing_stored(gateway, "unknown-event-type"):
        answer = gateway.send("channel.vanished", {})
    assert_problem(answer, 422, "unknown-event-type", "channel.opened", "channel.updated")


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("capacity_sat", 0, "greater than 0"),
        ("capacity_sat", "1000000", "integer"),
        ("capacity_sat", 1.5, "integer"),
        ("capacity_sat", True, "integer"),
        ("capacity_sat", 21_000_000 * 10**8 + 1, "less than or equal"),
        ("channel_type", "Anchors!", "match pattern"),
        ("opener", "nobody", "'local' or 'remote'"),
        ("channel_point", "00:1", "txid:vout"),
        ("channel_point", None, "txid:vout"),
        ("key_ref", {"kind": "lnd"}, "Field required"),
        ("key_ref", {"kind": "none"}, "kind"),
        ("local", {}, "Field required"),
        ("sweep_script", "zz", "hex"),
        ("a_field_nobody_knows", 1, "not permitted"),
    ],
)
def test_wrong_fields_are_named(
    gateway: GatewayClient, sim: SimulatedChannel, field: str, value: Any, word: str
) -> None:
    with nothing_stored(gateway, "invalid-fields"):
        answer = gateway.send_raw(opening(sim, **{field: value}))
    assert_problem(answer, 422, "invalid-fields", f"data.{field}", word)


def test_a_missing_envelope_field(gateway: GatewayClient) -> None:
    with nothing_stored(gateway, "invalid-fields"):
        answer = gateway.send_raw(b'{"type": "preimage.learned"}')
    assert_problem(answer, 422, "invalid-fields", "timestamp", "data")


def test_an_invalid_point(gateway: GatewayClient, sim: SimulatedChannel) -> None:
    local = {**opened_data(sim.channel)["local"], "htlc_basepoint": NO_POINT}
    with nothing_stored(gateway, "invalid-point"):
        answer = gateway.send_raw(opening(sim, local=local))
    assert_problem(answer, 422, "invalid-point", "data.local.htlc_basepoint", "secp256k1")


def test_a_sweep_script_that_nobody_allowed(gateway: GatewayClient, sim: SimulatedChannel) -> None:
    with nothing_stored(gateway, "sweep-script-not-allowed"):
        answer = gateway.send_raw(opening(sim, sweep_script="0014" + "00" * 20))
    assert_problem(answer, 422, "sweep-script-not-allowed", str(sim.sweep_script))
    # A node is registered once: `node add` would refuse its name.
    assert "node add" not in answer.text


@pytest.mark.parametrize(
    "event_type",
    ["channel.updated", "force_close.requested", "channel.funding_replaced"],
)
def test_an_unknown_channel(gateway: GatewayClient, sim: SimulatedChannel, event_type: str) -> None:
    parts: dict[str, dict[str, Any]] = {
        "channel.updated": update_data(sim.first_update()),
        "force_close.requested": {"reason": "why not"},
        "channel.funding_replaced": {"funding_outpoint": f"{'ab' * 32}:0"},
    }
    data = {"channel_point": str(sim.funding_outpoint), **parts[event_type]}
    with nothing_stored(gateway, "unknown-channel"):
        answer = gateway.send(event_type, data)
    assert_problem(answer, 404, "unknown-channel", str(sim.funding_outpoint))


def test_another_nodes_channel_is_unknown(gateway: GatewayClient, opened: SimulatedChannel) -> None:
    gateway.add_node("bob", opened.sweep_script)
    with nothing_stored(gateway, "unknown-channel"):
        data = updates_of(opened, opened.first_update())
        answer = gateway.send("channel.updated", data, node="bob")
    assert_problem(answer, 404, "unknown-channel")
