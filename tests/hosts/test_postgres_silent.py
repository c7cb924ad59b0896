"""Postgres falls silent with every connection open and acknowledged: nobody waits for ever (C5)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.database import Database
from tests.hosts.fleet import Fleet, running_fleet
from tests.hosts.host import Host
from tests.hosts.test_many_hosts import tell, unapplied, until
from tests.hosts.test_two_watchers import at_tip
from tests.proxy import Proxy, proxy_before
from tests.summary import Summary
from tests.tasks.opened import open_channel
from tests.workers.watching import Watched, mine

pytestmark = pytest.mark.hosts


@pytest.fixture
def cable(database_url: str) -> Iterator[Proxy]:
    """Between every process of the court and Postgres."""
    with proxy_before(database_url) as proxy:
        yield proxy


@pytest.fixture
def fleet(
    tmp_path: Path, database_url: str, redis_url: str, cable: Proxy, court: Watched
) -> Iterator[Fleet]:
    through = cable.in_url(database_url)
    with running_fleet(
        tmp_path / "fleet", postgres=through, redis=redis_url, bitcoind=court.devnet.url
    ) as fleet:
        yield fleet


@pytest.mark.timeout(600)
def test_c5_a_lone_watcher_and_a_worker_find_a_silent_postgres_again(
    fleet: Fleet, cable: Proxy, court: Watched, db: Database, first_host: Host, summary: Summary
) -> None:
    """Both go on by themselves, the same processes: there is no second watcher to take over."""
    watcher, worker = fleet.watcher(first_host), fleet.worker(first_host)
    ids = [open_channel(db, f"behind a silent wall {number}")[1] for number in range(3)]
    tell(db, ids, "before")
    until(lambda: not unapplied(db) and at_tip(court), "both to work before")
    cable.forget()
    fell_silent_at = time.monotonic()
    tell(db, ids, "after")
    mine(court.devnet)
    until(lambda: not unapplied(db), "the worker to go on")
    worked = time.monotonic() - fell_silent_at
    until(lambda: at_tip(court), "the watcher to go on")
    watched = time.monotonic() - fell_silent_at
    assert watcher.exit_code() is None
    assert worker.exit_code() is None
    summary(
        f"Postgres fell silent: the worker went on after {worked:.0f} s, "
        f"the only watcher after {watched:.0f} s"
    )
