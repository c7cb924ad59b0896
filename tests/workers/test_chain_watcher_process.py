"""The watcher as a process: it leads, hears of blocks, and ends when it is told to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chain.devnet.process import DevnetProcess
from storage import blocks, lease
from storage.database import Database
from tests.workers.watching import Watched, mine, reorg, spending

ROOT = Path(__file__).parents[2]
_GIVE_UP_SECONDS = 60


@pytest.fixture
def zmq_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def court(db: Database, tmp_path: Path, zmq_address: str) -> Iterator[Watched]:
    with DevnetProcess(tmp_path / "devnet", flags=("--zmqpubhashblock", zmq_address)) as devnet:
        yield Watched(db, devnet)


@pytest.fixture
def start(
    court: Watched, database_url: str, redis_url: str, zmq_address: str, tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts watchers that poll once a minute: what they see sooner, they were told by ZMQ."""
    environment = {name: value for name, value in os.environ.items() if "CONTRACTCOURT" not in name}
    environment |= {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "BITCOIND_URL": court.devnet.url,
        "CONTRACTCOURT_BITCOIND_ZMQ_URL": zmq_address,
        "CONTRACTCOURT_POLL_SECONDS": "60",
        "CONTRACTCOURT_LEASE_SECONDS": "120",
        "CONTRACTCOURT_DATA_DIR": str(tmp_path),
    }
    started: list[subprocess.Popen[bytes]] = []

    def start(**more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "workers.cli", "watcher"]
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment | more))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def until(done: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + _GIVE_UP_SECONDS
    while not done():
        assert time.monotonic() < give_up_at, "it never happened"
        time.sleep(0.05)


def follows(court: Watched) -> bool:
    with court.db.transaction() as conn:
        return blocks.cursor(conn) is not None


def leader_is_live(court: Watched) -> bool:
    with court.db.transaction() as conn:
        held = lease.read(conn, lease.CHAIN_WATCHER)
    return held is not None and held.live


def test_b1_an_announcement_shortens_the_poll_and_sigterm_gives_the_lease_back(
    court: Watched, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    channel_id, outpoint = court.funded_channel()
    process = start()
    until(lambda: follows(court))
    height = mine(court.devnet, spending(outpoint))
    # The first announcement may come before the subscription: more blocks, as on any chain.
    until(lambda: court.told(channel_id) or mine(court.devnet) < 0)
    assert court.told(channel_id) == [("spent", height)]
    assert leader_is_live(court)
    process.send_signal(signal.SIGTERM)
    assert process.wait(_GIVE_UP_SECONDS) == 0
    assert not leader_is_live(court)


def test_p7_another_watcher_takes_over_from_one_that_ended(
    court: Watched, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    channel_id, outpoint = court.funded_channel()
    first = start()
    until(lambda: follows(court))
    first.terminate()
    assert first.wait(_GIVE_UP_SECONDS) == 0
    height = mine(court.devnet, spending(outpoint))
    start()
    until(lambda: court.told(channel_id))
    assert court.told(channel_id) == [("spent", height)]


def test_p7_a_leader_whose_node_lags_behind_lets_another_one_try(
    court: Watched, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """The other one may have a node of its own. Here nobody else is there, and it leads again."""
    mine(court.devnet, count=3)
    start(CONTRACTCOURT_LEASE_SECONDS="1.5", CONTRACTCOURT_POLL_SECONDS="0.2")
    until(lambda: follows(court))
    reorg(court.devnet, 2, length=0)

    def led_anew() -> bool:
        held = court.db.run(lambda conn: lease.read(conn, lease.CHAIN_WATCHER))
        return held is not None and held.epoch > 1

    until(led_anew)
    height = mine(court.devnet, count=3)
    until(lambda: court.cursor.height == height)
