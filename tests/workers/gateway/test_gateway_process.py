"""The gateway as its own process: a real broker, a broker that goes, a process that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import redis

from storage.database import Database
from tests.conftest import free_port, start_redis
from tests.storage.examples import WEBHOOK_KEY
from tests.workers.gateway.serving import OPERATOR_TOKEN, GatewayClient, channel_of

ROOT = Path(__file__).parents[3]


@dataclass
class GatewayProcess:
    """One gateway process with its log."""

    environment: dict[str, str]
    url: str
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workers.cli", "gateway"],
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
            )
        wait_until(self._ready, self.log)

    def _ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/readyz", trust_env=False).is_success
        except httpx2.HTTPError:
            return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it; its exit code."""
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(30)


def wait_until(true: Callable[[], bool], log: Path) -> None:
    """Poll until `true()`; fail with the log when it never is."""
    give_up_at = time.monotonic() + 60
    while not true():
        assert time.monotonic() < give_up_at, log.read_text()
        time.sleep(0.05)


@pytest.fixture
def broker() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A Redis of its own, to be killed."""
    with tempfile.TemporaryDirectory(prefix="contractcourt-redis-") as directory:
        server, url = start_redis(directory)
        yield server, url
        server.kill()
        server.wait()


@pytest.fixture
def running(
    database_url: str, broker: tuple[subprocess.Popen[bytes], str], tmp_path: Path
) -> Iterator[GatewayProcess]:
    """A gateway process on a free port."""
    port = free_port()
    environment = {
        "DATABASE_URL": database_url,
        "REDIS_URL": broker[1],
        "CONTRACTCOURT_DATA_DIR": str(tmp_path),
        "CONTRACTCOURT_GATEWAY_PORT": str(port),
        "CONTRACTCOURT_OPERATOR_TOKEN": OPERATOR_TOKEN,
        "CONTRACTCOURT_WEBHOOK_KEY": WEBHOOK_KEY,
    }
    gateway = GatewayProcess(environment, f"http://127.0.0.1:{port}", tmp_path / "gateway.log")
    gateway.start()
    yield gateway
    assert gateway.process is not None
    gateway.process.kill()
    gateway.process.wait()


def test_a_force_close_wakes_the_workers_while_there_is_a_broker(
    running: GatewayProcess, broker: tuple[subprocess.Popen[bytes], str], db: Database
) -> None:
    server, url = broker
    sim, other = channel_of("first"), channel_of("second")
    client = GatewayClient(running.url, db, [])
    client.add_node("alice", sim.sweep_script)
    for channel in (sim, other):
        client.open(channel)
        assert client.update(channel, channel.first_update()).status_code == 202
    path = f"/v1/channels/{sim.funding_outpoint}/force-close"
    assert client.operator(path).json()["outcome"] == "accepted"
    with redis.Redis.from_url(url) as queues:
        wait_until(lambda: queues.llen("arbitrate") > 0, running.log)

    server.kill()
    server.wait()
    path = f"/v1/channels/{other.funding_outpoint}/force-close"
    assert client.operator(path).json()["outcome"] == "accepted"
    assert client.update(other, *other.whole_move(1_000_000)).status_code == 202
    wait_until(lambda: "broker away" in running.log.read_text(), running.log)
    assert client.http.get("/readyz").status_code == 200
    client.http.close()


def test_killed_at_any_time_it_comes_back_with_all_it_acknowledged(
    running: GatewayProcess, db: Database
) -> None:
    sim = channel_of()
    client = GatewayClient(running.url, db, [])
    client.add_node("alice", sim.sweep_script)
    client.open(sim)
    first = client.send(
        "channel.updated",
        {
            "channel_point": str(sim.funding_outpoint),
            "revoked_secret": {"number": 0, "secret": "11" * 32},
        },
    )
    assert first.status_code in (409, 422)
    assert client.update(sim, sim.first_update()).json()["seq"] == 2
    running.stop(signal.SIGKILL)
    running.start()
    client.http.close()
    client = GatewayClient(running.url, db, [], client.secrets)
    assert client.update(sim, *sim.whole_move(1_000_000)).json()["seq"] == 3
    log = running.log.read_text()
    assert '"channel_point"' in log
    assert '"idempotency_key"' in log
    assert OPERATOR_TOKEN not in log
    assert client.secrets["alice"] not in log
    assert running.stop() == 0
    client.http.close()
