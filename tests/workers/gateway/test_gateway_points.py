"""Our per-commitment points: sent by the node, told by the signer, or found out later."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from contractcourt.channel import LocalCommitment
from contractcourt.codec import to_builtins
from storage import cases, channels
from storage.database import Database
from storage.seal import Seal
from tasks.signer_client import SignerClient
from tests.storage.examples import WEBHOOK_SEAL
from tests.workers.gateway.serving import GatewayClient, channel_of, serving, updates_of
from workers.gateway import updates
from workers.gateway.access import Access
from workers.gateway.app import create_app, metrics_of
from workers.gateway.court import Court
from workers.signer.keyring import KeyRing
from workers.signer.server import create_app as create_signer
from workers.signer.signing import Signer
from workers.simulation.channel import SimulatedChannel

SIGNER_TOKEN = "signer token of the tests"


@pytest.fixture
def signer(db: Database) -> Iterator[SignerClient]:
    """A served signer without any keys."""
    app = create_signer(Signer(db, KeyRing(Seal(bytes(32)), mainnet=False)), SIGNER_TOKEN)
    with serving(app) as url, SignerClient(url, SIGNER_TOKEN) as client:
        yield client


@pytest.fixture
def gateway(db: Database, signer: SignerClient) -> Iterator[GatewayClient]:
    """A gateway that asks this signer."""
    court = Court(
        db, Access(), metrics_of(db), wake=lambda _: None, signer=signer, webhook_seal=WEBHOOK_SEAL
    )
    with serving(create_app(court)) as url:
        client = GatewayClient(url, db, [])
        client.add_node("alice", channel_of().sweep_script)
        yield client
        client.http.close()


def local_commitment(gateway: GatewayClient, sim: SimulatedChannel) -> LocalCommitment:
    """Our newest commitment as the court keeps it."""
    with gateway.db.transaction() as conn:
        row = channels.find(conn, sim.channel.channel_point)
        assert row is not None
        stored = cases.read(conn, row.id)
    assert stored is not None
    assert stored.case.local_commitment is not None
    return stored.case.local_commitment


def test_the_signer_tells_the_point(
    gateway: GatewayClient, signer: SignerClient, sim: SimulatedChannel
) -> None:
    signer.import_keys(json.dumps(sim.key_document()).encode())
    gateway.open(sim)
    assert gateway.update(sim, sim.first_update()).status_code == 202
    assert local_commitment(gateway, sim) == sim.local_commitment(0)


def test_with_the_point_the_numbers_are_checked(
    gateway: GatewayClient, signer: SignerClient, sim: SimulatedChannel
) -> None:
    signer.import_keys(json.dumps(sim.key_document()).encode())
    gateway.open(sim)
    data = updates_of(sim, sim.first_update())
    data["updates"][0]["local_commitment"]["to_local_msat"] -= 5_000_000
    before = gateway.counts()
    refused = gateway.send("channel.updated", data)
    assert refused.status_code == 422
    assert refused.json()["type"].endswith("commitment-mismatch")
    assert gateway.counts() == before


def test_without_keys_the_update_is_taken_all_the_same(
    gateway: GatewayClient, sim: SimulatedChannel
) -> None:
    gateway.open(sim)
    assert gateway.update(sim, sim.first_update()).status_code == 202
    assert local_commitment(gateway, sim).per_commitment_point is None


def test_the_node_may_send_the_point_itself(gateway: GatewayClient, sim: SimulatedChannel) -> None:
    gateway.open(sim)
    data = updates_of(sim, sim.first_update())
    point = to_builtins(sim.ours.point(0))
    data["updates"][0]["local_commitment"]["per_commitment_point"] = point
    assert gateway.send("channel.updated", data).status_code == 202
    assert local_commitment(gateway, sim) == sim.local_commitment(0)


def test_a_signer_that_is_away_keeps_no_webhook_waiting(
    db: Database, sim: SimulatedChannel
) -> None:
    with SignerClient("http://127.0.0.1:1", SIGNER_TOKEN, timeout_seconds=1) as away:
        court = Court(
            db,
            Access(),
            metrics_of(db),
            wake=lambda _: None,
            signer=away,
            webhook_seal=WEBHOOK_SEAL,
        )
        with serving(create_app(court)) as url:
            client = GatewayClient(url, db, [])
            client.add_node("alice", sim.sweep_script)
            client.open(sim)
            answer = client.update(sim, sim.first_update(), *sim.whole_move(1_000_000))
            assert answer.status_code == 202
            assert local_commitment(client, sim).per_commitment_point is None
            client.http.close()


def test_a_signer_that_is_slow_keeps_a_message_of_many_steps_waiting_no_longer(
    db: Database, sim: SimulatedChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its threads are all that the gateway has; the newest commitment is asked for first."""
    monkeypatch.setattr(updates, "_SIGNER_SECONDS", 0.5)
    signer = create_signer(Signer(db, KeyRing(Seal(bytes(32)), mainnet=False)), SIGNER_TOKEN)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await asyncio.sleep(0.3)
        await signer(scope, receive, send)

    with (
        serving(Starlette(routes=[Mount("/", slow)])) as url,
        SignerClient(url, SIGNER_TOKEN) as it,
    ):
        it.import_keys(json.dumps(sim.key_document()).encode())
        court = Court(
            db, Access(), metrics_of(db), wake=lambda _: None, signer=it, webhook_seal=WEBHOOK_SEAL
        )
        with serving(create_app(court)) as url:
            client = GatewayClient(url, db, [])
            client.add_node("alice", sim.sweep_script)
            client.open(sim)
            steps = [sim.first_update()]
            for number in range(20):
                steps += sim.whole_move(1_000_000 * (number + 1))
            began = time.monotonic()
            assert client.update(sim, *steps).status_code == 202
            assert time.monotonic() - began < 4
            assert local_commitment(client, sim).per_commitment_point == sim.ours.point(20)
            client.http.close()
