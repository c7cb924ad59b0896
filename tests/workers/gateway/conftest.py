"""A gateway of its own for every test, with node `alice` and her keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from storage.database import Database
from tests.storage.examples import WEBHOOK_SEAL
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
from workers.gateway.wakeup import WakeUp
from workers.simulation.channel import SimulatedChannel

MAX_BODY_BYTES = 262_144


@pytest.fixture
def gateway(db: Database) -> Iterator[GatewayClient]:
    """A served gateway over a fresh database."""
    wakes: list[WakeUp] = []
    court = Court(
        db=db,
        access=Access(OPERATOR_TOKEN, VIEWER_TOKEN),
        metrics=metrics_of(db),
        wake=wakes.append,
        max_body_bytes=MAX_BODY_BYTES,
        webhook_seal=WEBHOOK_SEAL,
    )
    with serving(create_app(court)) as url:
        client = GatewayClient(url, db, wakes)
        client.add_node("alice", channel_of().sweep_script)
        yield client
        client.http.close()


@pytest.fixture
def sim() -> SimulatedChannel:
    """A channel that alice has not opened yet."""
    return channel_of()


@pytest.fixture
def opened(gateway: GatewayClient, sim: SimulatedChannel) -> SimulatedChannel:
    """A channel that alice opened, with commitment 0 of both sides."""
    gateway.open(sim)
    assert gateway.update(sim, sim.first_update()).status_code == 202
    return sim
