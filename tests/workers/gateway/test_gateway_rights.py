"""A gateway that may do in Postgres what its role may, and nothing else, takes webhooks."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from contractcourt.channel import Direction
from storage import roles
from storage.database import Database
from storage.roles import Role
from tests.storage.examples import WEBHOOK_SEAL
from tests.workers.gateway.serving import (
    OPERATOR_TOKEN,
    VIEWER_TOKEN,
    GatewayClient,
    serving,
    updates_of,
)
from workers.gateway.access import Access
from workers.gateway.app import create_app, metrics_of
from workers.gateway.court import Court
from workers.simulation.channel import SimulatedChannel

_PASSWORD = "a password of the tests"


@pytest.fixture
def restricted(db: Database, sim: SimulatedChannel) -> Iterator[GatewayClient]:
    """A served gateway that logs in as a member of its role."""
    name = f"test.{uuid.uuid4().hex}"
    with psycopg.connect(db.url, autocommit=True) as owner:
        roles.put_login(owner, Role.GATEWAY, name, _PASSWORD)
        with closing(Database(make_conninfo(db.url, user=name, password=_PASSWORD))) as own:
            court = Court(
                db=own,
                access=Access(OPERATOR_TOKEN, VIEWER_TOKEN),
                metrics=metrics_of(own),
                wake=lambda _: None,
                webhook_seal=WEBHOOK_SEAL,
            )
            with serving(create_app(court)) as url:
                client = GatewayClient(url, db, [])
                client.add_node("alice", sim.sweep_script)
                yield client
                client.http.close()
        owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_a_gateway_takes_webhooks_with_the_rights_of_its_role(
    restricted: GatewayClient, sim: SimulatedChannel
) -> None:
    restricted.open(sim)
    assert restricted.update(sim, sim.first_update()).status_code == 202
    htlc = sim.htlc(1, Direction.RECEIVED, 20_000_000, 700)
    for _ in range(2):
        data = updates_of(sim, *sim.whole_move(1_000_000, htlc))
        first, again = (
            restricted.send("channel.updated", data, message_id=f"moved {sim.number}").json()
            for _ in range(2)
        )
        assert (first["duplicate"], again) == (False, {**first, "duplicate": True})
    reason = {"channel_point": str(sim.funding_outpoint), "reason": "a test of rights"}
    assert restricted.send("force_close.requested", reason).status_code == 202
