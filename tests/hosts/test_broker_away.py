"""The broker is cut off, or falls silent with every connection open (users_ask C5)."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chain.devnet.process import DevnetProcess
from contractcourt.alarms import AlarmKind
from storage import alarms, census
from storage.database import Database
from tasks.reserve import RESERVE
from tests.hosts.fleet import Fleet, running_fleet
from tests.hosts.host import Host
from tests.hosts.test_many_hosts import tell, unapplied, until, waits_for_a_lock
from tests.proxy import Proxy, proxy_before
from tests.summary import Summary
from tests.tasks.opened import open_channel
from workers.watcher import progress
from workers.watcher.progress import Progress

pytestmark = pytest.mark.hosts

_ALARM_SECONDS = 4.0
_RESUMED_SECONDS = 60


@pytest.fixture
def cable(redis_url: str) -> Iterator[Proxy]:
    """Between every process of the court and the broker."""
    with proxy_before(redis_url) as proxy:
        yield proxy


@pytest.fixture
def fleet(
    tmp_path: Path, database_url: str, redis_url: str, cable: Proxy, devnet: DevnetProcess
) -> Iterator[Fleet]:
    through = cable.in_url(redis_url)
    with running_fleet(
        tmp_path / "fleet", postgres=database_url, redis=through, bitcoind=devnet.url
    ) as fleet:
        yield fleet


@pytest.fixture
def here() -> Iterator[Host]:
    host = Host("here", "127.0.0.1")
    yield host
    host.close()


@pytest.mark.timeout(600)
def test_c5_consumption_resumes_and_the_alarm_fires_meanwhile(
    fleet: Fleet,
    here: Host,
    cable: Proxy,
    db: Database,
    summary: Summary,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twice one worker, which is never restarted: it finds its own way back."""
    fleet.worker(here)
    monkeypatch.setattr(progress, "_EVERY_SECONDS", 0.0)
    watch = Progress(db, no_block_seconds=1e9, docket_seconds=_ALARM_SECONDS)
    ids = [open_channel(db, f"behind a broken broker {number}")[1] for number in range(3)]
    strikes: list[tuple[str, Callable[[], None], Callable[[], None]]] = [
        ("cut", cable.refuse, cable.admit),
        ("frozen", cable.freeze, cable.thaw),
    ]

    def alarmed() -> bool:
        watch.step()
        return _stalled(db)

    for name, strike, heal in strikes:
        tell(db, ids, f"before, {name}")
        until(lambda: not unapplied(db), f"the worker to consume before it is {name}")
        assert not alarmed()
        strike()
        tell(db, ids, f"meanwhile, {name}")
        until(alarmed, f"the alarm while the broker is {name}")
        with db.transaction() as conn:
            counted = census.count(conn, RESERVE)
        assert counted.unapplied == len(ids)
        assert counted.oldest_unapplied_seconds >= _ALARM_SECONDS
        heal()
        healed_at = time.monotonic()
        until(lambda: not unapplied(db), f"the worker to consume after it was {name}")
        took = time.monotonic() - healed_at
        assert not alarmed()
        summary(f"the broker was {name}: consumed again {took:.1f} s after it came back")


@pytest.mark.timeout(600)
def test_c5_connections_that_fall_silent_are_left_by_the_worker_itself(
    fleet: Fleet, here: Host, cable: Proxy, db: Database, summary: Summary
) -> None:
    """Something in between forgets every connection, and goes on to acknowledge what they carry.

    No keepalive finds that out. Nobody tells the worker, and nobody starts it again. It has a task
    in hand, so that its own acknowledgement is lost, which must not cost it a place for tasks.
    """
    fleet.worker(here)
    ids = [open_channel(db, f"behind a forgetful wall {number}")[1] for number in range(3)]
    with db.transaction() as obstacle:
        tell(db, ids, "in hand")
        obstacle.execute("SELECT 1 FROM unapplied FOR UPDATE")
        until(lambda: waits_for_a_lock(db), "the worker to be in the middle of it")
        served = cable.accepted
        cable.forget()
    fell_silent_at = time.monotonic()
    until(lambda: not unapplied(db), "what it had in hand")
    tell(db, ids, "after")
    until(lambda: not unapplied(db), "the worker to consume by a new connection")
    took = time.monotonic() - fell_silent_at
    assert cable.accepted > served
    summary(f"every connection to the broker fell silent: consumed again after {took:.1f} s")


@pytest.mark.timeout(600)
def test_c5_a_worker_that_loses_the_broker_with_a_task_in_hand_goes_on(
    fleet: Fleet, here: Host, cable: Proxy, db: Database
) -> None:
    """It ends what it has in hand, and does not end itself over what it cannot give back.

    Of its two processes one works while the other listens.
    """
    worker = fleet.worker(here, children=2)
    ids = [open_channel(db, f"in hand {number}")[1] for number in range(3)]
    # Which of its connections it misses first is chance.
    for number in range(5):
        with db.transaction() as obstacle:
            tell(db, ids, f"in hand {number}")
            obstacle.execute("SELECT 1 FROM unapplied FOR UPDATE")
            until(lambda: waits_for_a_lock(db), "the worker to be in the middle of it")
            cable.refuse()
        until(lambda: not unapplied(db), "what it had in hand")
        cable.admit()
        tell(db, ids, f"after {number}")
        until(lambda: not unapplied(db), "the worker to consume again")
        assert worker.exit_code() is None


def test_c5_a_silent_broker_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sum of what the worker waits for at most, and that it never gives up trying."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    from kombu.connection import Connection as Broker
    from kombu.transport.redis import Transport

    from tasks import celery_config

    options: dict[str, Any] = celery_config.broker_transport_options
    asked = inspect.signature(Broker._ensure_connection).parameters
    longest_pause = asked["interval_max"].default
    assert options["socket_timeout"] + longest_pause <= _RESUMED_SECONDS
    # An acknowledgement that nobody answers, then two looks at how long the next message takes.
    looks = Transport.brpop_timeout + 2 * options["health_check_interval"]
    assert options["socket_timeout"] + looks <= _RESUMED_SECONDS
    idle, interval, probes = options["socket_keepalive_options"].values()
    assert idle + interval * probes + longest_pause <= _RESUMED_SECONDS
    assert celery_config.broker_connection_max_retries is None


def _stalled(db: Database) -> bool:
    with db.transaction() as conn:
        return any(one.kind == AlarmKind.DOCKET_STALLED for one in alarms.list_open(conn))
