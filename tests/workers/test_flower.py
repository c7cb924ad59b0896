"""Flower is a window and nothing more: what happened is told by Postgres (users_ask C14)."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx2
import psutil
import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import STATIC_REMOTEKEY
from storage.database import Database
from tests.conftest import free_port
from tests.workers.gateway.serving import serving
from tests.workers.running_up import cli
from tests.workers.test_cli import Run, court, open_channel, run
from workers.gateway.access import Access
from workers.gateway.app import create_app, metrics_of
from workers.gateway.court import Court
from workers.simulation.channel import SimulatedChannel
from workers.simulation.client import CourtClient
from workers.simulation.court import RunningCourt, running_court
from workers.simulation.feed import opened_data, update_data

__all__ = ["court", "run"]


def test_c14_what_happened_to_a_channel_is_answered_by_postgres_alone(
    court: Run, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No worker, no Redis, no Flower: the page's API and the command line tell the same."""
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    point = open_channel(db)
    told = {
        name: json.loads(court(name, point, "--json").out)
        for name in ("channel", "docket", "account")
    }
    assert [entry["type"] for entry in told["docket"]] == ["channel_opened", "height_reached"]
    gateway = Court(db=db, access=Access(), metrics=metrics_of(db), wake=lambda _: None)
    with serving(create_app(gateway)) as url, httpx2.Client(base_url=url, timeout=60) as http:
        path = f"/v1/channels/{point}"
        assert http.get(path).json() == told["channel"]
        assert http.get(f"{path}/account").json() == told["account"]
        assert http.get(f"{path}/docket").json()["entries"] == told["docket"]
        assert http.get("/").status_code == 200


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_c14_killing_flower_changes_nothing(tmp_path: Path) -> None:
    with running_court(tmp_path / "court") as running:
        sim = SimulatedChannel("flower", STATIC_REMOTEKEY)
        node = running.node(sim.node, bytes(sim.sweep_script))
        client = running.client
        kill_flower(running)
        open_in(client, sim)
        point = str(sim.channel.channel_point)
        client.webhook(node, "channel.opened", opened_data(sim.channel))
        update = {"channel_point": point, "updates": [update_data(sim.first_update())]}
        client.webhook(node, "channel.updated", update)
        kill_flower(running)
        client.force_close(point, "nobody looks")
        for mined in range(30):
            client.mine(1)
            client.wait_quiet(300)
            if client.channel(point)["state"] == "FULLY_RESOLVED":
                break
            if mined == 3:
                kill_flower(running)
        folder = running.data_dir
        case = json.loads(cli(folder, "channel", point, "--json").stdout)
        assert (case["state"], case["close"]["kind"]) == ("FULLY_RESOLVED", "local")
        assert cli(folder, "audit").returncode == 0
        docket = json.loads(cli(folder, "docket", point, "--json").stdout)
        assert docket == client.docket(point)["entries"]
        assert [entry["seq"] for entry in docket] == list(range(1, len(docket) + 1))
        assert "force_close_requested" in {entry["type"] for entry in docket}


def open_in(client: CourtClient, sim: SimulatedChannel) -> None:
    """Fund the channel on chain, and hand over its keys."""
    output = {"script_hex": sim.funding_script_pubkey.hex(), "amount_sat": sim.capacity_sat}
    txid = client.rpc("devnet_spend", [output])["txid"]
    client.mine(1)
    sim.funded(OutPoint.parse(f"{txid}:0"))
    client.import_keys(sim.key_document())


def kill_flower(running: RunningCourt) -> None:
    """SIGKILL it, wherever `up` has started it anew since the last time."""
    assert running._up is not None
    give_up_at = time.monotonic() + 240
    while time.monotonic() < give_up_at:
        for child in psutil.Process(running._up.pid).children(recursive=True):
            try:
                if "flower" in child.cmdline():
                    child.kill()
                    child.wait(30)
                    return
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.2)
    raise AssertionError("Flower is not started again")
