"""Waking the workers never delays and never fails an answer, whatever the broker does."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing

import psycopg
import pytest

from contractcourt.events import HeightReached
from contractcourt.units import BlockHeight
from storage import channels, docket
from storage.database import Database
from tasks.arbitration import arbitrate
from tests.storage.examples import WEBHOOK_SEAL
from tests.workers.gateway.serving import (
    OPERATOR_TOKEN,
    GatewayClient,
    channel_of,
    serving,
    updates_of,
)
from workers.gateway.access import Access
from workers.gateway.app import create_app, metrics_of
from workers.gateway.court import Court
from workers.gateway.wakeup import Waker, WakeUp
from workers.simulation.channel import SimulatedChannel


def test_wake_ups_are_gathered_while_one_is_told() -> None:
    told: list[list[WakeUp]] = []
    begun, go_on = threading.Event(), threading.Event()

    def publish(wake_ups: Sequence[WakeUp]) -> None:
        told.append(list(wake_ups))
        begun.set()
        go_on.wait(10)

    with closing(Waker(publish)) as waker:
        waker(WakeUp(channels=(1,)))
        assert begun.wait(10)
        for channel in (2, 3):
            waker(WakeUp(channels=(channel,)))
        waker(WakeUp())
        go_on.set()
    assert told == [[WakeUp(channels=(1,))], [WakeUp(channels=(2,)), WakeUp(channels=(3,))]]


def test_a_broker_that_is_away_loses_only_time(db: Database) -> None:
    failed = threading.Event()

    def publish(_: Sequence[WakeUp]) -> None:
        failed.set()
        raise ConnectionError("no broker here")

    with closing(Waker(publish)) as waker:
        court = Court(
            db=db,
            access=Access(OPERATOR_TOKEN),
            metrics=metrics_of(db),
            wake=waker,
            webhook_seal=WEBHOOK_SEAL,
        )
        with serving(create_app(court)) as url:
            client = GatewayClient(url, db, [])
            sim = channel_of()
            client.add_node("alice", sim.sweep_script)
            client.open(sim)
            assert client.update(sim, sim.first_update()).status_code == 202
            path = f"/v1/channels/{sim.funding_outpoint}/force-close"
            assert client.operator(path).json()["outcome"] == "accepted"
            assert failed.wait(10)
            assert client.operator(path).json()["outcome"] == "dropped"
            assert client.counts()[0] == 3
            client.http.close()


@pytest.mark.timeout(60)
def test_a_case_that_is_held_means_come_again(
    gateway: GatewayClient, opened: SimulatedChannel, database_url: str
) -> None:
    steps = opened.whole_move(1_000_000)
    before = gateway.counts()
    with psycopg.connect(database_url) as holder:
        holder.execute("SELECT 1 FROM cases FOR UPDATE")
        held = gateway.update(opened, *steps)
        assert held.status_code == 503
        assert held.headers["retry-after"]
        path = f"/v1/channels/{opened.funding_outpoint}/force-close"
        assert gateway.operator(path).status_code == 202
    assert gateway.counts()[2] == before[2]
    assert gateway.update(opened, *steps).status_code == 202


def test_a_refused_webhook_hands_on_the_wake_up_that_met_its_case(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    channel_id = channel_id_of(gateway, opened)
    with gateway.db.transaction() as conn:
        height = HeightReached(BlockHeight(9))
        docket.append(conn, channel_id, height, idempotency_key="breach", source="chain")
    gateway.wakes.clear()
    assert gateway.update(opened, opened.whole_move(1_000_000)[1]).status_code == 409
    assert gateway.wakes == [WakeUp(channels=(channel_id,))]
    arbitrate(gateway.db, gateway.wakes[0].channels)
    with gateway.db.transaction() as conn:
        assert docket.unapplied_channels(conn, 0.0, 10) == []


def test_a_webhook_that_is_on_the_docket_already_hands_it_on_too(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    data = updates_of(opened, *opened.whole_move(1_000_000))
    assert gateway.send("channel.updated", data, message_id="once").status_code == 202
    with gateway.db.transaction() as conn:
        conn.execute("DELETE FROM webhook_receipts")
    gateway.wakes.clear()
    again = gateway.send("channel.updated", data, message_id="once")
    assert again.json()["duplicate"] is True
    assert [wake.channels for wake in gateway.wakes] == [(channel_id_of(gateway, opened),)]


def channel_id_of(gateway: GatewayClient, sim: SimulatedChannel) -> int:
    with gateway.db.transaction() as conn:
        row = channels.find(conn, sim.channel.channel_point)
    assert row is not None
    return row.id


def test_other_channels_do_not_wait(
    gateway: GatewayClient, opened: SimulatedChannel, database_url: str
) -> None:
    other = channel_of("another")
    gateway.open(other)
    with psycopg.connect(database_url) as holder:
        holder.execute(
            "SELECT 1 FROM cases JOIN channels ON channels.id = cases.channel_id"
            " WHERE channel_point = %s FOR UPDATE OF cases",
            [bytes(opened.channel.channel_point)],
        )
        assert gateway.update(other, other.first_update()).status_code == 202
