"""Two watchers on two hosts: one leads, and whatever happens to it, the other one goes on (P7)."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from storage import blocks
from storage.lease import Lease
from tasks.settings import Settings
from tests.hosts import host as hosts
from tests.hosts.conftest import fencings, leader, now
from tests.hosts.host import Host
from tests.summary import Summary
from tests.workers.watching import Watched, mine, spending
from workers.process import Process

pytestmark = pytest.mark.hosts

_GIVE_UP_SECONDS = 120
_LEASE_SECONDS = float(Settings.model_fields["lease_seconds"].default)


@dataclass
class Watching:
    """A watcher and the host it runs on."""

    host: Host
    process: Process

    def send(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)


Start = Callable[[Host, str], Watching]


@pytest.fixture
def start(court: Watched, database_url: str, redis_url: str, logs: Path, tmp_path: Path) -> Start:
    """Starts watchers with the settings as they are; only the parts' addresses are given."""

    def start(host: Host, name: str) -> Watching:
        environment = {
            "DATABASE_URL": host.reach(database_url),
            "REDIS_URL": host.reach(redis_url),
            "BITCOIND_URL": host.reach(court.devnet.url),
            "CONTRACTCOURT_DATA_DIR": str(tmp_path / name),
        }
        argv = (sys.executable, "-m", "workers.cli", "watcher")
        return Watching(host, host.run(name, argv, environment, logs))

    return start


def until(true: Callable[[], object], what: str) -> None:
    give_up_at = time.monotonic() + _GIVE_UP_SECONDS
    while not true():
        assert time.monotonic() < give_up_at, f"waited in vain for {what}"
        time.sleep(0.02)


def leads(court: Watched, epoch: int) -> bool:
    held = leader(court.db)
    return held is not None and held.live and held.epoch == epoch


def at_tip(court: Watched) -> bool:
    with court.db.transaction() as conn:
        cursor = blocks.cursor(conn)
    return cursor is not None and cursor.hash.hex() == court.devnet.rpc("getbestblockhash")


def stands_by(court: Watched, held: Lease) -> bool:
    """Another watcher than the leader is at the tables."""
    with court.db.transaction() as conn:
        names = conn.execute(
            "SELECT DISTINCT application_name FROM pg_stat_activity"
            " WHERE application_name LIKE 'contractcourt-watcher:%'"
            " AND datname = current_database()"
        ).fetchall()
    return any(not name.endswith(str(held.holder)) for (name,) in names)


def kill(watching: Watching) -> None:
    watching.send(signal.SIGKILL)


def freeze(watching: Watching) -> None:
    watching.send(signal.SIGSTOP)


def cut_off(watching: Watching) -> None:
    watching.host.cut_off()


@pytest.mark.parametrize("strike", [kill, freeze, cut_off], ids=lambda strike: strike.__name__)
def test_p7_the_other_watcher_takes_over(
    strike: Callable[[Watching], None],
    court: Watched,
    start: Start,
    first_host: Host,
    second_host: Host,
    summary: Summary,
) -> None:
    """No block is skipped and none is told twice; who comes back is fenced and writes nothing.

    That it takes less than five seconds is a sum of what the code waits for at most, and is held
    by `tests/workers/test_leadership.py`. Here the real thing is measured on the database's clock.
    """
    before_id, before = court.funded_channel()
    during_id, during = court.funded_channel()
    after_id, after = court.funded_channel()
    old = start(first_host, "first")
    until(lambda: leads(court, 1) and at_tip(court), "the first watcher to lead")
    seen = mine(court.devnet, spending(before))
    until(lambda: court.told(before_id), "the first watcher's block")
    first = leader(court.db)
    assert first is not None
    start(second_host, "second")
    until(lambda: stands_by(court, first), "the second watcher to stand by")
    assert leads(court, 1)

    strike(old)
    struck_at = now(court.db)
    mined = mine(court.devnet, spending(during))
    last = leader(court.db)
    assert last is not None
    # Nobody renews any more: so long, and no longer, does the old one's word hold.
    assert (last.expires_at - struck_at).total_seconds() <= _LEASE_SECONDS
    until(lambda: leads(court, 2), "the second watcher to lead")
    taken = leader(court.db)
    assert taken is not None
    assert taken.taken_at >= last.expires_at
    assert taken.holder != first.holder
    until(lambda: court.told(during_id), "the block that nobody had read")
    told_at = now(court.db)

    come_back(old)
    if strike is not kill:
        until(lambda: fencings(court.db) == [1], "the old leader to be fenced")
    later = mine(court.devnet, spending(after))
    until(lambda: court.told(after_id), "one more block")
    until(lambda: at_tip(court), "the tip")
    assert court.told(before_id) == [("spent", seen)]
    assert court.told(during_id) == [("spent", mined)]
    assert court.told(after_id) == [("spent", later)]
    assert leads(court, 2)
    summary(
        f"a watcher was struck ({strike.__name__}), on {hosts.kind()}: the other led after "
        f"{(taken.taken_at - struck_at).total_seconds():.2f} s, and had told the missed block "
        f"after {(told_at - struck_at).total_seconds():.2f} s"
    )


def come_back(old: Watching) -> None:
    old.host.join()
    with suppress(ProcessLookupError):
        old.send(signal.SIGCONT)
