"""Dead letters over HTTP and on the command line: seen by readers, replayed by the operator."""

from __future__ import annotations

import json

import httpx2
import pytest

from contractcourt.alarms import AlarmKind
from contractcourt.effects import NotifyNode
from contractcourt.units import PaymentHash
from storage import alarms, channels, dead_letters, endpoints, letters, outbox
from storage.database import Database
from tests.workers.gateway.serving import VIEWER_TOKEN, GatewayClient
from tests.workers.test_cli import Run, court, run
from workers.cli.exits import Exit
from workers.gateway.wakeup import WakeUp
from workers.simulation.channel import SimulatedChannel

__all__ = ["court", "run"]

PREIMAGE = PaymentHash(bytes(range(32)))


@pytest.fixture
def dead(gateway: GatewayClient, opened: SimulatedChannel) -> int:
    """A letter of `opened` that was refused until it was given up."""
    del opened
    with gateway.db.transaction() as conn:
        [row] = channels.list_channels(conn)
        letter = outbox.put_many(
            conn, [(row.id, NotifyNode("htlc.fulfilled", {"preimage": str(PREIMAGE)}))]
        )[0]
        assert letters.mark_refused(conn, letter, "it answered 400", 1)
    return letter


def listed(gateway: GatewayClient, query: str = "") -> list[dict[str, object]]:
    answer = gateway.http.get(f"/v1/dead-letters{query}")
    assert answer.status_code == 200
    return list(answer.json()["dead_letters"])


def test_a_dead_letter_is_seen_without_what_it_says(
    gateway: GatewayClient, opened: SimulatedChannel, dead: int
) -> None:
    [shown] = listed(gateway)
    assert shown["id"] == dead
    assert str(shown["message_id"]).startswith(f"msg_{dead}_")
    assert shown["endpoint"] == "alice"
    assert shown["channel_point"] == str(opened.funding_outpoint)
    assert shown["type"] == "htlc.fulfilled"
    assert shown["last_error"] == "it answered 400"
    assert str(PREIMAGE) not in gateway.http.get("/v1/dead-letters").text
    assert listed(gateway, "?endpoint=alice") == [shown]
    assert listed(gateway, "?endpoint=@operator") == []
    assert gateway.http.get("/v1/dead-letters?endpoint=%2e%2e/x").status_code == 422


def test_pages_follow_each_other(gateway: GatewayClient, dead: int) -> None:
    with gateway.db.transaction() as conn:
        [row] = channels.list_channels(conn)
        for number in range(3):
            letter = outbox.put_many(
                conn, [(row.id, NotifyNode("channel.closed", {"number": number}))]
            )[0]
            letters.mark_refused(conn, letter, "it answered 400", 1)
    seen, after = [], 0
    while True:
        page = gateway.http.get(f"/v1/dead-letters?limit=2&after={after}").json()
        seen += [letter["id"] for letter in page["dead_letters"]]
        if page["next_after"] is None:
            break
        after = page["next_after"]
    assert len(seen) == len(set(seen)) == 4
    assert seen[0] == dead


def test_replaying_takes_the_operator_and_is_safe_to_ask_twice(
    gateway: GatewayClient, dead: int
) -> None:
    path = f"/v1/dead-letters/{dead}/replay"
    assert gateway.http.post(path).status_code == 401
    viewer = {"Authorization": f"Bearer {VIEWER_TOKEN}"}
    assert gateway.http.post(path, headers=viewer).status_code == 403
    assert len(listed(gateway)) == 1
    gateway.wakes.clear()
    answers: list[httpx2.Response] = [gateway.operator(path) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert [answer.json()["outcome"] for answer in answers] == ["replayed", "already_replayed"]
    assert WakeUp(effects=((dead, "notify_node"),)) in gateway.wakes
    assert listed(gateway) == []
    [past] = listed(gateway, "?with_replayed=true")
    assert past["replayed_at"] is not None
    with gateway.db.transaction() as conn:
        assert [letter.id for letter in letters.take(conn, "alice", 10)] == [dead]
    unknown = gateway.operator("/v1/dead-letters/999999/replay")
    assert unknown.status_code == 404
    assert unknown.json()["type"].endswith("unknown-letter")


def test_the_command_line_lists_and_replays(
    court: Run, db: Database, gateway: GatewayClient, dead: int
) -> None:
    del db
    [shown] = json.loads(court("webhooks", "list", "--json").out)
    assert shown["id"] == dead
    assert "htlc.fulfilled" in court("webhooks", "list").out
    assert court("webhooks", "replay").code == Exit.USAGE
    wrong = court("webhooks", "replay", str(dead), "424242")
    assert wrong.code == Exit.FAILED
    assert "424242" in wrong.err
    assert len(listed(gateway)) == 1
    assert "sent again: 1" in court("webhooks", "replay", "--node", "alice").out
    assert "sent again: 0; sent again before: 1" in court("webhooks", "replay", str(dead)).out
    assert json.loads(court("webhooks", "list", "--json").out) == []
    assert json.loads(court("webhooks", "endpoints", "--json").out) == []


def test_all_of_a_node_are_shown_and_sent_again_however_many(
    court: Run, db: Database, dead: int
) -> None:
    with db.transaction() as conn:
        conn.execute(
            """
            INSERT INTO dead_letters
                (id, endpoint, channel_id, kind, effect, attempts, last_error, created_at)
            SELECT id + number, endpoint, channel_id, kind, effect, attempts, last_error, created_at
            FROM dead_letters, generate_series(1000, 2000) AS number
            """
        )
    del dead
    assert len(json.loads(court("webhooks", "list", "--json").out)) == 1002
    assert "sent again: 1002;" in court("webhooks", "replay", "--node", "alice").out
    assert json.loads(court("webhooks", "list", "--json").out) == []


def test_the_alarm_is_over_with_the_nodes_last_letter_whatever_the_operator_refused(
    db: Database, dead: int
) -> None:
    with db.transaction() as conn:
        [row] = channels.list_channels(conn)
        alarms.raise_alarm(conn, row.id, AlarmKind.DEAD_LETTER, "refused")
        [told] = letters.take(conn, endpoints.OPERATOR, 10)
        assert letters.mark_refused(conn, told.id, "it answered 400", 1)
        dead_letters.replay(conn, dead)
        assert alarms.list_open(conn, channel_id=row.id) == []
