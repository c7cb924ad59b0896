"""What a real node's history is told as: every recorded LDK channel passes the door whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.units import Script
from storage import cases, channels
from storage.database import Database
from storage.seal import Seal
from tasks.signer_client import SignerClient
from tests.storage.examples import WEBHOOK_SEAL
from tests.workers.gateway.serving import GatewayClient, serving
from workers.gateway.access import Access
from workers.gateway.app import create_app, metrics_of
from workers.gateway.court import Court
from workers.replay.feed import key_document, opened, webhooks
from workers.replay.fixture import Fixture
from workers.signer.keyring import KeyRing
from workers.signer.server import create_app as create_signer
from workers.signer.signing import Signer

RECORDINGS = sorted((Path(__file__).parents[2] / "data" / "ldk").glob("*.json"))
TOKEN = "signer token of the tests"


@pytest.fixture
def signer(db: Database) -> Iterator[SignerClient]:
    """A served signer."""
    app = create_signer(Signer(db, KeyRing(Seal(bytes(32)), mainnet=False)), TOKEN)
    with serving(app) as url, SignerClient(url, TOKEN) as client:
        yield client


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_a_recorded_channel_passes_the_door(db: Database, signer: SignerClient, path: Path) -> None:
    fixture = Fixture.load(path)
    signer.import_keys(json.dumps(key_document(fixture)).encode())
    court = Court(
        db, Access(), metrics_of(db), wake=lambda _: None, signer=signer, webhook_seal=WEBHOOK_SEAL
    )
    with serving(create_app(court)) as url:
        client = GatewayClient(url, db, [])
        client.add_node("alice", Script.parse(fixture.sweep_script))
        assert client.send("channel.opened", opened(fixture)).status_code == 202
        for event_type, data in webhooks(fixture):
            answer = client.send(event_type, data)
            assert answer.status_code == 202, answer.text
        client.http.close()
    with db.transaction() as conn:
        row = channels.find(conn, OutPoint.parse(fixture.channel_point))
        assert row is not None
        stored = cases.read(conn, row.id)
    assert stored is not None
    commitment = stored.case.local_commitment
    assert commitment is not None
    assert commitment.per_commitment_point is not None
