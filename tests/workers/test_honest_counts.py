"""What Prometheus reads equals the docket, whoever was recycled or killed (users_ask C15)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from contractcourt.events import HeightReached
from contractcourt.units import BlockHeight
from storage import docket
from storage.database import Database
from storage.docket import NewEntry
from tasks import wakeups
from tests.conftest import free_port
from tests.tasks.opened import open_channel
from workers.gateway.app import metrics_of

pytestmark = pytest.mark.e2e

_CHANNELS, _ROUNDS, _TASKS_OF_A_CHILD = 12, 40, 3
_SECONDS = 120.0


@pytest.fixture
def worker(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[psutil.Process]:
    """`contractcourt worker` with two children, each of which takes three tasks and ends."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("REDIS_URL", redis_url)
    environment = os.environ | {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "BITCOIND_URL": nowhere,
        "CONTRACTCOURT_SIGNER_URL": nowhere,
        "CONTRACTCOURT_SIGNER_TOKEN": "no signer is asked here",
        "CONTRACTCOURT_DATA_DIR": str(tmp_path),
        "CONTRACTCOURT_WORKER_CONCURRENCY": "2",
        "CONTRACTCOURT_MAX_TASKS_PER_CHILD": str(_TASKS_OF_A_CHILD),
    }
    with (tmp_path / "worker.log").open("wb") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "workers.cli", "worker"],
            env=environment,
            stdout=log,
            stderr=log,
        )
    process = psutil.Process(started.pid)
    try:
        yield process
    finally:
        children = process.children(recursive=True) if process.is_running() else []
        started.terminate()
        try:
            started.wait(30)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()


def unapplied(db: Database) -> int:
    with db.transaction() as conn:
        return docket.backlog(conn)[0]


def told(db: Database) -> dict[str, dict[str, float]]:
    """Series of `/metrics` by name, and of each the values by its labels."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(metrics_of(db).page().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[",".join(sample.labels.values())] = sample.value
    return found


def test_c15_counts_equal_the_docket_after_children_were_recycled_and_killed(
    db: Database, worker: psutil.Process
) -> None:
    channels = [open_channel(db, f"counted {n}")[1] for n in range(_CHANNELS)]
    seen: set[int] = set()
    killed = 0
    for height in range(1, _ROUNDS + 1):
        event = HeightReached(BlockHeight(height))
        entries = [NewEntry(channel, event, f"h{height}", "chain") for channel in channels]
        db.run(lambda conn, entries=entries: docket.append_many(conn, entries))  # type: ignore[misc]
        for channel in channels:
            wakeups.wake([channel])
        children = worker.children()
        seen |= {child.pid for child in children}
        if height % 10 == 0 and children:
            with suppress(psutil.NoSuchProcess):
                children[-1].kill()
                killed += 1
        time.sleep(0.05)
    give_up_at = time.monotonic() + _SECONDS
    while unapplied(db):
        assert worker.is_running()
        assert time.monotonic() < give_up_at, f"{unapplied(db)} entries still wait"
        assert wakeups.wake(channels), (
            "the broker is away"
        )  # as reconcile does for those whose wake-up was lost
        seen |= {child.pid for child in worker.children()}
        time.sleep(0.5)
    assert len(seen) > 2 + killed, "no child was recycled"
    with db.transaction() as conn:
        kinds: dict[str, int] = dict(
            conn.execute("SELECT kind, count(*) FROM docket GROUP BY kind").fetchall()
        )
    figures = told(db)
    assert figures["contractcourt_docket_entries_total"] == kinds
    assert kinds["height_reached"] == _CHANNELS * _ROUNDS
    assert figures["contractcourt_event_lag_seconds_count"][""] == sum(kinds.values())
    assert figures["contractcourt_event_lag_seconds_bucket"]["+Inf"] == sum(kinds.values())
    assert figures["contractcourt_docket_unapplied"][""] == 0
    assert figures["contractcourt_channels"] == {"DEFAULT": _CHANNELS}
