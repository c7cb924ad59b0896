"""Looking and force-closing over HTTP, the probes, the metrics and the pages."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx2
import pytest

from contractcourt.alarms import AlarmKind
from contractcourt.channel import Direction
from contractcourt.effects import WakeAt
from contractcourt.units import (
    BlockHeight,
    FeeratePerKw,
    HexBytes,
    Satoshi,
    WeightUnits,
)
from storage import alarms, channels, deadlines
from storage.database import Connection, Database
from storage.seal import Seal
from storage.signed import Price, Signed, SpentInput, store
from tasks.arbitration import apply_at_the_door
from tests.spent import spent
from tests.workers.gateway.refusing import assert_problem
from tests.workers.gateway.serving import (
    OPERATOR_TOKEN,
    VIEWER_TOKEN,
    GatewayClient,
    channel_of,
    serving,
)
from workers.gateway.access import Access
from workers.gateway.app import create_app, metrics_of
from workers.gateway.court import Court
from workers.simulation.channel import SimulatedChannel


def channel_id(conn: Connection, sim: SimulatedChannel) -> int:
    row = channels.find(conn, sim.channel.channel_point)
    assert row is not None
    return row.id


def close_cooperatively(gateway: GatewayClient, sim: SimulatedChannel) -> str:
    """The chain closes the channel, buried deep; the closing txid."""
    tx = sim.cooperative_tx()
    spend = spent(sim.channel.funding_outpoint, tx, 100, tip_height=200)
    with gateway.db.transaction() as conn:
        apply_at_the_door(
            conn, channel_id(conn, sim), spend, idempotency_key="spend", source="chain"
        )
    return str(tx.txid())


# -- lists and cases --


def test_channels_by_page_state_and_node(gateway: GatewayClient) -> None:
    sims = [channel_of(f"channel {number}") for number in range(3)]
    for sim in sims:
        gateway.open(sim)
    first = gateway.http.get("/v1/channels", params={"limit": 2}).json()
    assert [c["channel_point"] for c in first["channels"]] == [
        str(sim.funding_outpoint) for sim in sims[:2]
    ]
    rest = gateway.http.get("/v1/channels", params={"after": first["next_after"]}).json()
    assert len(rest["channels"]) == 1
    assert rest["next_after"] is None
    for query, found in (({"state": "DEFAULT"}, 3), ({"state": "FULLY_RESOLVED"}, 0)):
        assert len(gateway.http.get("/v1/channels", params=query).json()["channels"]) == found
    assert gateway.http.get("/v1/channels", params={"node": "bob"}).json()["channels"] == []


def test_a_case_shows_what_is_known(gateway: GatewayClient, opened: SimulatedChannel) -> None:
    tx = opened.our_commitment_tx()
    with gateway.db.transaction() as conn:
        ours = channel_id(conn, opened)
        alarms.raise_alarm(conn, ours, AlarmKind.CONTESTED, "raise the fee")
        deadlines.add(conn, ours, WakeAt(BlockHeight(700), "an HTLC is due", Satoshi(20_000)))
        spent = SpentInput(opened.channel.funding_outpoint, ours, Satoshi(500))
        price = Price(Satoshi(500), WeightUnits(1_000), FeeratePerKw(500))
        raw_tx = HexBytes(tx.serialize())
        store(conn, Signed(ours, "commitment", tx.txid(), raw_tx, [spent], price))
    view = gateway.http.get(f"/v1/channels/{opened.funding_outpoint}").json()
    assert view["state"] == "DEFAULT"
    assert view["local_commitment_number"] == 0
    assert view["remote_commitment_numbers"] == [0]
    assert view["alarms"][0]["kind"] == "contested"
    assert view["deadlines"][0]["value_at_risk_sat"] == 20_000
    assert view["broadcasts"][0]["tx"] == tx.serialize().hex()
    risks = gateway.http.get("/v1/deadlines").json()["deadlines"]
    assert [(d["height"], d["channel_point"]) for d in risks] == [
        (700, str(opened.funding_outpoint))
    ]
    page = gateway.http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert str(opened.funding_outpoint) in page.text
    assert "raise the fee" in page.text


def test_a_docket_shows_no_secrets(gateway: GatewayClient, opened: SimulatedChannel) -> None:
    htlc = opened.htlc(1, Direction.RECEIVED, 20_000_000, 700)
    gateway.update(opened, *opened.whole_move(0, htlc))
    preimage = str(opened.preimage(1))
    told = {"payment_hash": str(htlc.payment_hash), "preimage": preimage}
    gateway.send("preimage.learned", told, message_id="msg_preimage")
    page = gateway.http.get(f"/v1/channels/{opened.funding_outpoint}/docket")
    entries = page.json()["entries"]
    assert [entry["type"] for entry in entries] == [
        "channel_opened",
        "channel_updated",
        "channel_updated",
        "preimage_learned",
    ]
    assert entries[3]["idempotency_key"] == "node:alice:msg_preimage"
    assert preimage not in page.text
    assert str(opened.theirs.revoke(0)) not in page.text
    after = gateway.http.get(
        f"/v1/channels/{opened.funding_outpoint}/docket", params={"after": 1, "limit": 2}
    ).json()
    assert ([entry["seq"] for entry in after["entries"]], after["next_after"]) == ([2, 3], 3)


def test_looking_for_what_is_not_there(gateway: GatewayClient) -> None:
    for path, status in (
        (f"/v1/channels/{'ab' * 32}:0", 404),
        ("/v1/channels/nonsense", 422),
        ("/v1/channels?state=CLOSED", 422),
        ("/v1/channels?limit=0", 422),
        ("/v1/channels?node=%00", 422),
        ("/v2", 404),
    ):
        answer = gateway.http.get(path)
        assert answer.status_code == status, path
        assert answer.headers["content-type"] == "application/problem+json"
    wrong = gateway.http.delete("/v1/channels")
    assert wrong.json()["type"] == "urn:contractcourt:problem:method-not-allowed"


# -- force closes --


def test_a_force_close_is_accepted_once(gateway: GatewayClient, opened: SimulatedChannel) -> None:
    path = f"/v1/channels/{opened.funding_outpoint}/force-close"
    first = gateway.operator(path, reason="peer is gone")
    assert first.status_code == 202
    txid = str(opened.local_commitment().txid)
    assert (first.json()["outcome"], first.json()["closing_txid"]) == ("accepted", txid)
    second = gateway.operator(path)
    assert second.json() == {**first.json(), "outcome": "dropped"}
    webhook = gateway.send(
        "force_close.requested", {"channel_point": str(opened.funding_outpoint), "reason": "too"}
    )
    assert webhook.status_code == 202
    assert webhook.json() == {
        "channel_point": str(opened.funding_outpoint),
        "seq": 3,
        "duplicate": True,
    }
    assert gateway.counts()[0] == 3
    assert gateway.wakes[-1].channels


def test_a_node_asks_for_a_force_close(gateway: GatewayClient, opened: SimulatedChannel) -> None:
    data = {"channel_point": str(opened.funding_outpoint), "reason": "fee"}
    answer = gateway.send("force_close.requested", data, message_id="msg_f")
    assert (answer.status_code, answer.json()["seq"]) == (202, 3)
    again = gateway.send("force_close.requested", data, message_id="msg_f")
    assert again.json() == {**answer.json(), "duplicate": True}


def test_many_ask_at_once_and_one_is_accepted(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    path = f"/v1/channels/{opened.funding_outpoint}/force-close"
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: gateway.operator(path).json(), range(8)))
    assert sorted(answer["outcome"] for answer in answers) == ["accepted"] + ["dropped"] * 7
    assert len({(a["requested_at"], a["closing_txid"]) for a in answers}) == 1
    assert gateway.counts()[0] == 3


def test_the_same_key_gets_the_same_answer(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}", "Idempotency-Key": "once"}
    path = f"/v1/channels/{opened.funding_outpoint}/force-close"
    answers = [gateway.http.post(path, headers=headers).json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0]["outcome"] == "accepted"


def test_the_same_key_gets_the_same_answer_after_the_close_too(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    """The answer was lost, and meanwhile the peer's transaction was mined."""
    path = f"/v1/channels/{opened.funding_outpoint}/force-close"

    def ask(key: str) -> str:
        headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}", "Idempotency-Key": key}
        return str(gateway.http.post(path, headers=headers).json()["outcome"])

    assert ask("one") == "accepted"
    close_cooperatively(gateway, opened)
    assert (ask("one"), ask("other")) == ("accepted", "dropped")


def test_a_closed_channel_names_its_closing_transaction(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    txid = close_cooperatively(gateway, opened)
    before = gateway.counts()
    answer = gateway.operator(f"/v1/channels/{opened.funding_outpoint}/force-close")
    assert answer.status_code == 202
    assert answer.json() == {"outcome": "dropped", "requested_at": None, "closing_txid": txid}
    assert gateway.counts() == before
    view = gateway.http.get(f"/v1/channels/{opened.funding_outpoint}").json()
    assert (view["close_kind"], view["close"]["txid"]) == ("cooperative", txid)


def test_nothing_to_publish_yet(gateway: GatewayClient, sim: SimulatedChannel) -> None:
    gateway.open(sim)
    before = gateway.counts()
    answer = gateway.operator(f"/v1/channels/{sim.funding_outpoint}/force-close")
    assert answer.status_code == 409
    assert "channel.updated" in answer.json()["detail"]
    assert gateway.counts() == before


def test_only_the_operator_closes(gateway: GatewayClient, opened: SimulatedChannel) -> None:
    path = f"/v1/channels/{opened.funding_outpoint}/force-close"
    before = gateway.counts()
    for token, status in ((None, 401), ("Bearer wrong", 401), (f"Bearer {VIEWER_TOKEN}", 403)):
        headers = {} if token is None else {"Authorization": token}
        answer = gateway.http.post(path, headers=headers)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
    assert gateway.counts() == before


def test_requests_that_are_none(gateway: GatewayClient, opened: SimulatedChannel) -> None:
    path = f"/v1/channels/{opened.funding_outpoint}/force-close"
    headers = {
        "Authorization": f"Bearer {OPERATOR_TOKEN}",
        "Content-Type": "application/json",
    }
    before = gateway.counts()
    for body, status in ((b"{", 400), (b'{"reason": 3}', 422), (b'{"why": "x"}', 422)):
        answer = gateway.http.post(path, content=body, headers=headers)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
    assert gateway.operator(f"/v1/channels/{'ab' * 32}:0/force-close").status_code == 404
    assert gateway.counts() == before


@pytest.mark.parametrize(
    ("content_type", "body", "detail"),
    [
        # curl's, where it is told none.
        ("application/x-www-form-urlencoded", b'{"reason": "x"}', "as application/json"),
        ("application/json", b"[]", "send a JSON object"),
        ("application/json", b"{", "the body is not JSON"),
    ],
)
def test_a_body_that_is_no_json_object_is_told_to_be_one(
    gateway: GatewayClient, opened: SimulatedChannel, content_type: str, body: bytes, detail: str
) -> None:
    headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}", "Content-Type": content_type}
    path = f"/v1/channels/{opened.funding_outpoint}/force-close"
    answer = gateway.http.post(path, content=body, headers=headers)
    assert detail in answer.json()["detail"]


# -- who may look --


def test_reads_can_be_closed_to_strangers(db: Database) -> None:
    access = Access(OPERATOR_TOKEN, VIEWER_TOKEN, protect_reads=True)
    court = Court(db=db, access=access, metrics=metrics_of(db), wake=lambda _: None)
    with serving(create_app(court)) as url, httpx2.Client(base_url=url) as http:
        for path in ("/v1/channels", "/v1/deadlines", "/"):
            assert http.get(path).status_code == 401
            for token in (OPERATOR_TOKEN, VIEWER_TOKEN):
                headers = {"Authorization": f"Bearer {token}"}
                assert http.get(path, headers=headers).status_code == 200
        assert http.get("/readyz").status_code == 200


# -- probes, metrics, pages --


def test_probes_tell_a_living_gateway_from_a_ready_one(empty_database_url: str) -> None:
    with closing(Database(empty_database_url)) as db:
        court = Court(db=db, access=Access(), metrics=metrics_of(db), wake=lambda _: None)
        with serving(create_app(court)) as url, httpx2.Client(base_url=url) as http:
            assert http.get("/healthz").json() == {"status": "ok"}
            ready = http.get("/readyz")
    assert ready.status_code == 503
    assert "migrate" in ready.json()["detail"]


def test_a_gateway_of_the_version_before_stays_ready_on_a_newer_schema(db: Database) -> None:
    with db.transaction() as conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")
    court = Court(db=db, access=Access(), metrics=metrics_of(db), wake=lambda _: None)
    with serving(create_app(court)) as url, httpx2.Client(base_url=url) as http:
        ready = http.get("/readyz")
    assert (ready.status_code, ready.json()["revision"]) == (200, "9999")


def test_a_database_that_is_away_means_come_again() -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    with closing(Database(nowhere, wait_seconds=0.2)) as db:
        court = Court(db=db, access=Access(), metrics=metrics_of(db), wake=lambda _: None)
        with serving(create_app(court)) as url, httpx2.Client(base_url=url) as http:
            for path in ("/readyz", "/v1/channels", "/metrics"):
                answer = http.get(path)
                assert answer.status_code == 503, path
                assert answer.headers["retry-after"]
                assert answer.headers["content-type"] == "application/problem+json"
            headers = {
                "webhook-id": "m",
                "webhook-timestamp": "1",
                "webhook-signature": "v1,AAAA",
            }
            assert http.post("/v1/nodes/a/events", headers=headers).status_code == 503


def test_a_gateway_with_another_webhook_key_means_come_again(db: Database) -> None:
    """As while the key is rotated (how-to/rotate-secrets): nodes send again what 503 answers."""
    seal = Seal(bytes(31) + b"\x01")
    court = Court(
        db=db, access=Access(), metrics=metrics_of(db), wake=lambda _: None, webhook_seal=seal
    )
    with serving(create_app(court)) as url:
        client = GatewayClient(url, db, [])
        client.add_node("alice", channel_of().sweep_script)
        answer = client.send("channel.opened", {})
        client.http.close()
    assert_problem(answer, 503, "unavailable", "key")
    assert answer.headers["retry-after"]


def test_no_stranger_makes_series_of_his_own(gateway: GatewayClient) -> None:
    """A method may be any word, and each one would be kept for ever, here and in Prometheus."""
    for number in range(3):
        gateway.http.request(f"FOO{number}", "/healthz")
    route = 'method="other",route="/healthz",status="405"'
    shown = gateway.http.get("/metrics").text
    assert "FOO" not in shown
    assert gateway.metric(f"contractcourt_http_requests_total{{{route}}}") == 3


def test_metrics_count_what_the_tables_hold(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    with gateway.db.transaction() as conn:
        alarms.raise_alarm(conn, channel_id(conn, opened), AlarmKind.CONTESTED, "raise the fee")
    assert gateway.metric('contractcourt_channels{state="DEFAULT"}') == 1
    assert gateway.metric('contractcourt_alarms_open{kind="contested"}') == 1
    assert gateway.metric("contractcourt_docket_unapplied") == 0
    route = '{method="POST",route="/v1/nodes/{node}/events",status="202"}'
    assert gateway.metric(f"contractcourt_http_requests_total{route}") == 2


def test_the_api_describes_itself_without_a_network(gateway: GatewayClient) -> None:
    document = gateway.http.get("/openapi.json").json()
    webhook = document["paths"]["/v1/nodes/{node}/events"]["post"]
    schema = webhook["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/WebhookBody"}
    known = document["components"]["schemas"]
    for name in ("WebhookBody", "WebhookAccepted", "ProblemDetails", "ChannelUpdatedData"):
        assert name in known
    assert "application/problem+json" in webhook["responses"]["422"]["content"]
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["responses"]
    page = gateway.http.get("/docs").text
    assert "/v1/nodes/{node}/events" in page
    for outside in ("http://", "https://", "<script"):
        assert outside not in page


# -- what no route takes --


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/docs",
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/channels",
        "/v1/channels/abc",
        "/nothing",
    ],
)
def test_head_is_answered_as_get_is_without_the_body(gateway: GatewayClient, path: str) -> None:
    """It is what monitors and proxies ask; it was refused, as if the court were down."""
    told, shown = gateway.http.head(path), gateway.http.get(path)
    assert told.status_code == shown.status_code
    assert told.headers["content-type"] == shown.headers["content-type"]
    assert told.content == b""


def test_nobody_listens_to_a_stream_without_taking_it(gateway: GatewayClient) -> None:
    assert gateway.http.head("/stream").status_code == 405


def test_what_no_route_takes_is_told_what_one_would_take(gateway: GatewayClient) -> None:
    assert_problem(gateway.http.get("/v1/chanels"), 404, "not-found", "/docs")
    assert_problem(gateway.http.delete("/healthz"), 405, "method-not-allowed", "takes GET")


@pytest.mark.parametrize(
    "body", [b'{"reason": "\xff"}', b"[" * 100_000, b'{"reason": ' + b"9" * 5_000 + b"}"]
)
def test_a_body_that_no_reader_gets_through_is_no_json(gateway: GatewayClient, body: bytes) -> None:
    path = f"/v1/channels/{'ab' * 32}:0/force-close"
    headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}", "Content-Type": "application/json"}
    answer = gateway.http.post(path, content=body, headers=headers)
    assert_problem(answer, 400, "malformed-json", "not JSON that can be read")
