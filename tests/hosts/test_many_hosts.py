"""Workers on several hosts before one Postgres and one Redis: P4, and a host that is cut off."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from chain.devnet.process import DevnetProcess
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY
from contractcourt.events import HeightReached
from contractcourt.units import BlockHeight
from storage import cases, docket
from storage.database import Connection, Database
from tasks.proof import prove
from tests.hosts import host as hosts
from tests.hosts.fleet import Fleet, running_fleet
from tests.hosts.host import Host, new_host
from tests.scenarios.stack import StackCourt
from tests.scenarios.stories import local_force_close, remote_force_close
from tests.summary import Summary
from tests.tasks.opened import open_channel
from workers.simulation.channel import SimulatedChannel

pytestmark = pytest.mark.hosts

_GIVE_UP_SECONDS = 180
_HEIGHT = BlockHeight(900)


@pytest.fixture
def fleet(
    tmp_path: Path, database_url: str, redis_url: str, devnet: DevnetProcess
) -> Iterator[Fleet]:
    with running_fleet(
        tmp_path / "fleet", postgres=database_url, redis=redis_url, bitcoind=devnet.url
    ) as fleet:
        yield fleet


@pytest.fixture
def three() -> Iterator[list[Host]]:
    with ExitStack() as stack:
        yield [stack.enter_context(new_host()) for _ in range(3)]


def until(true: Callable[[], object], what: str) -> None:
    give_up_at = time.monotonic() + _GIVE_UP_SECONDS
    while not true():
        assert time.monotonic() < give_up_at, f"waited in vain for {what}"
        time.sleep(0.05)


def tell(db: Database, channel_ids: list[int], key: str) -> None:
    """One event for each; nobody is woken, so that reconcile has to find it."""
    entries = [docket.NewEntry(c, HeightReached(_HEIGHT), key, "chain") for c in channel_ids]
    db.run(lambda conn: docket.append_many(conn, entries))


def unapplied(db: Database) -> set[int]:
    with db.transaction() as conn:
        return {one for (one,) in conn.execute("SELECT channel_id FROM unapplied")}


def applied_by(fleet: Fleet) -> dict[str, list[tuple[str, str]]]:
    """Host to (channel, entry) of what its worker says it applied."""
    found = {}
    for log in sorted(fleet.logs.glob("worker-*.log")):
        text = log.read_text(errors="replace")
        lines = [line for line in text.splitlines() if '"event applied"' in line]
        found[log.stem] = [
            (_field("channel_point", line), _field("seq", line))
            for line in lines
            if "HeightReached" in line
        ]
    return found


def at_work(fleet: Fleet) -> list[int]:
    """How many events each host applied, of those that applied any."""
    return sorted(len(entries) for entries in applied_by(fleet).values() if entries)


def _field(name: str, line: str) -> str:
    match = re.search(rf'"{name}": ?"?([^",}}]+)', line)
    assert match is not None, line
    return match.group(1)


def version(conn: Connection, channel_id: int) -> tuple[int, int]:
    """(version, applied entries) of a case."""
    stored = cases.read(conn, channel_id)
    assert stored is not None
    return stored.version, stored.applied_seq


def test_p4_hosts_work_side_by_side_and_never_on_one_channel(
    fleet: Fleet, three: list[Host], db: Database, summary: Summary
) -> None:
    """While one channel is held, by whomever, all others move; each entry is applied once."""
    ids = [open_channel(db, f"side by side {number}")[1] for number in range(90)]
    for host in three:
        fleet.worker(host)
    held = ids[0]
    with db.transaction() as holding:
        cases.lock_one(holding, held)
        rounds = 0
        while rounds < 3 or (len(at_work(fleet)) < 2 and rounds < 60):
            rounds += 1
            tell(db, ids, f"round {rounds}")
            # Saying something, so that this hold is not taken for that of a dead host.
            until(
                lambda: holding.execute("SELECT 1") and unapplied(db) == {held},
                "every channel but the held one",
            )
        before = version(holding, held)
    until(lambda: not unapplied(db), "the channel that was held")
    with db.transaction() as conn:
        assert version(conn, held)[1] == before[1] + rounds
    everything = [entry for entries in applied_by(fleet).values() for entry in entries]
    assert len(everything) == len(set(everything)) == rounds * len(ids)
    shares = at_work(fleet)
    assert len(shares) > 1, shares
    assert [prove(db, channel_id) for channel_id in ids] == [[]] * len(ids)
    summary(f"90 channels, {rounds} events each, on {hosts.kind()}: {shares} by host")


def test_p4_c3_a_host_that_is_cut_off_in_the_middle_of_a_task_costs_only_time(
    fleet: Fleet, three: list[Host], db: Database, summary: Summary
) -> None:
    """Its transaction holds the case until Postgres takes it for dead; then another goes on."""
    doomed, other, _ = three
    _, channel_id = open_channel(db, "cut off in the middle")
    fleet.worker(doomed)
    with db.transaction() as conn:
        before = version(conn, channel_id)
    tell(db, [channel_id], "the event")
    with db.transaction() as obstacle:
        # Deleting this row is the last thing that the worker does before its commit.
        obstacle.execute("SELECT 1 FROM unapplied FOR UPDATE")
        until(lambda: waits_for_a_lock(db), "the worker to be in the middle of it")
        doomed.cut_off()
    cut_at = time.monotonic()
    until(lambda: _is_silent_in_a_transaction(db), "its transaction to hang")
    fleet.worker(other)
    until(lambda: not unapplied(db), "another host to do it")
    took = time.monotonic() - cut_at
    with db.transaction() as conn:
        assert version(conn, channel_id) == (before[0] + 1, before[1] + 1)
    doomed.join()
    tell(db, [channel_id], "another event")
    until(lambda: not unapplied(db), "the next event")
    with db.transaction() as conn:
        assert version(conn, channel_id) == (before[0] + 2, before[1] + 2)
    assert prove(db, channel_id) == []
    summary(f"a worker's host cut off mid-task, on {hosts.kind()}: done elsewhere in {took:.0f} s")


def waits_for_a_lock(db: Database) -> bool:
    return _sessions(db, "wait_event_type = 'Lock'")


def _is_silent_in_a_transaction(db: Database) -> bool:
    return _sessions(db, "state = 'idle in transaction'")


def _sessions(db: Database, condition: str) -> bool:
    with db.transaction() as conn:
        rows = conn.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
            f" AND application_name = 'contractcourt-worker' AND {condition}"
        ).fetchall()
    return bool(rows)


class PulledCables(StackCourt):
    """A court whose hosts lose their cables in turn while a story is told: one is always there."""

    def __init__(self, fleet: Fleet, hosts: list[Host]) -> None:
        super().__init__(fleet)  # type: ignore[arg-type]
        self._hosts = hosts
        self.pulled = 0

    def mine(self, count: int = 1) -> None:
        host = self._hosts[self.pulled % len(self._hosts)]
        if self.pulled < len(self._hosts):
            self.pulled += 1
            host.cut_off()
        super().mine(count)
        host.join()


@pytest.mark.timeout(600)
def test_p7_stories_end_as_ever_while_hosts_lose_their_cables(
    fleet: Fleet, three: list[Host], summary: Summary
) -> None:
    """Each of two hosts has a watcher and a worker; each loses its cable once in each story."""
    both = three[:2]
    for host in both:
        fleet.watcher(host)
        fleet.worker(host)
    began = time.monotonic()
    told = [
        (local_force_close, SimulatedChannel("cables, local", STATIC_REMOTEKEY)),
        (remote_force_close, SimulatedChannel("cables, remote", ANCHORS_ZERO_FEE_HTLC)),
    ]
    for story, sim in told:
        court = PulledCables(fleet, both)
        story(court, sim)
        assert court.pulled == 2
    with fleet.client.db.transaction() as conn:
        ids = [row[0] for row in conn.execute("SELECT id FROM channels").fetchall()]
    assert [prove(fleet.client.db, one) for one in ids] == [[], []]
    summary(
        f"2 stories, 4 cables pulled, on {hosts.kind()}: both ended as without, "
        f"in {time.monotonic() - began:.0f} s"
    )
