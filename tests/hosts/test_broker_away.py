"""The broker is cut off, or falls silent with every connection open (users_ask C5)."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from chain.devnet.process import DevnetProcess
from contractcourt.alarms import AlarmKind
from storage import alarms, census
from storage.database import Database
from tasks.reserve import RESERVE
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host
from tests.hosts.relay import Relay
from tests.hosts.test_many_hosts import tell, unapplied, until
from tests.summary import Summary
from tests.tasks.opened import open_channel
from workers.watcher import progress
from workers.watcher.progress import Progress

pytestmark = pytest.mark.hosts

_ALARM_SECONDS = 4.0
_RESUMED_SECONDS = 60


@pytest.fixture
def cable(redis_url: str) -> Iterator[Relay]:
    """Between every process of the court and the broker."""
    parts = urlsplit(redis_url)
    with Relay((parts.hostname or "", parts.port or 0)) as relay:
        yield relay


@pytest.fixture
def fleet(
    tmp_path: Path, database_url: str, cable: Relay, devnet: DevnetProcess
) -> Iterator[Fleet]:
    through = f"redis://127.0.0.1:{cable.port}/0"
    fleet = Fleet(tmp_path / "fleet", postgres=database_url, redis=through, bitcoind=devnet.url)
    fleet.logs.mkdir()
    fleet.start()
    here = Host("here", "127.0.0.1")
    fleet.worker(here)
    yield fleet
    here.close()
    fleet.stop()


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("fleet")
def test_c5_consumption_resumes_and_the_alarm_fires_meanwhile(
    cable: Relay, db: Database, summary: Summary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice one worker, which is never restarted: it finds its own way back."""
    monkeypatch.setattr(progress, "_EVERY_SECONDS", 0.0)
    watch = Progress(db, no_block_seconds=1e9, docket_seconds=_ALARM_SECONDS)
    ids = [open_channel(db, f"behind a broken broker {number}")[1] for number in range(3)]
    strikes: list[tuple[str, Callable[[], None], Callable[[], None]]] = [
        ("cut", cable.cut, cable.mend),
        ("frozen", cable.freeze, cable.thaw),
    ]
    for name, strike, heal in strikes:
        tell(db, ids, f"before, {name}")
        until(lambda: not unapplied(db), f"the worker to consume before it is {name}")
        watch.step()
        assert not _stalled(db)
        strike()
        tell(db, ids, f"meanwhile, {name}")
        until(lambda: watch.step() or _stalled(db), f"the alarm while the broker is {name}")
        with db.transaction() as conn:
            counted = census.count(conn, RESERVE)
        assert counted.unapplied == len(ids)
        assert counted.oldest_unapplied_seconds >= _ALARM_SECONDS
        heal()
        healed_at = time.monotonic()
        until(lambda: not unapplied(db), f"the worker to consume after it was {name}")
        took = time.monotonic() - healed_at
        watch.step()
        assert not _stalled(db)
        summary(f"the broker was {name}: consumed again {took:.1f} s after it came back")


def test_c5_a_silent_broker_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sum of what the worker waits for at most, and that it never gives up trying."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    from kombu.connection import Connection as Broker

    from tasks import celery_config

    options = celery_config.broker_transport_options
    asked = inspect.signature(Broker._ensure_connection).parameters
    longest_pause = asked["interval_max"].default
    assert options["socket_timeout"] + longest_pause <= _RESUMED_SECONDS
    assert options["health_check_interval"] <= options["socket_timeout"]
    idle, interval, probes = options["socket_keepalive_options"].values()
    assert idle + interval * probes <= options["socket_timeout"]
    assert celery_config.broker_connection_max_retries is None


def _stalled(db: Database) -> bool:
    with db.transaction() as conn:
        return any(one.kind == AlarmKind.DOCKET_STALLED for one in alarms.list_open(conn))
