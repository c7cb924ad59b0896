"""A month leaves the docket, and others are made, under full load: how long anybody waits (P8).

Every few milliseconds Postgres is asked who waits for a lock on a table of the docket, and how long
already; a wait for another row's transaction is no business of retention and is left out.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, date, datetime

import psycopg

from bench import ground, load
from bench.load import Load
from bench.quiet import quiet
from bench.timing import percentile
from storage import docket_parts
from storage.database import Database
from storage.docket_parts import Shelf
from tasks import archive

FULL = {"seconds": 60, "channels": 2_000, "old": 200_000}

_OLD_MONTH = date(2020, 1, 1)
WAITING = """
    SELECT max(extract(epoch FROM clock_timestamp() - waitstart)) * 1000, count(*)
    FROM pg_locks
    WHERE NOT granted AND locktype = 'relation'
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def run(seconds: int = 20, channels: int = 200, old: int = 10_000) -> dict[str, object]:
    """The longest wait for a lock, and the load's own figures with and without the move.

    Args:
        seconds: of each phase, at rest and with a month on the move.
        channels: under load, each with entries in the old month.
        old: entries that came in that month.
    """
    with ground.postgres() as url, ground.database(url) as db, quiet():
        ids = load.open_channels(db, channels)
        height = 1
        while height * channels < old:
            load.put_on(db.url, ids, 2, height)
            height += 1_000
            if _grow_old(db) >= old:
                break
        free = load.put_on(db.url, ids, seconds, 1_000_000)
        watcher = _LockWatcher(db.url)
        with watcher:
            mover = threading.Thread(target=_move, args=(db, seconds))
            mover.start()
            moving = load.put_on(db.url, ids, seconds, 2_000_000)
            mover.join()
        with db.transaction() as conn:
            [(rows,)] = conn.execute("SELECT count(*) FROM docket_archive").fetchall()
        shelf = _shelf(db)
    return {
        "channels": channels,
        "entries_archived": rows,
        "month_is_in_the_archive": shelf is Shelf.ARCHIVE,
        "looks_for_waiters": watcher.looks,
        "looks_that_saw_one": watcher.seen,
        "longest_wait_for_a_table_ms": round(watcher.longest_ms, 1),
        "claim_p99_ms_at_rest": round(percentile(free.claims, 0.99), 1),
        "claim_p99_ms_moving": round(percentile(moving.claims, 0.99), 1),
        "claim_p99_moving_over_rest": _ratio(moving, free),
    }


def _grow_old(db: Database) -> int:
    """What was appended so far came in years ago; how many entries."""
    with db.transaction() as conn:
        conn.execute("SET LOCAL statement_timeout = '10min'")
        conn.execute(docket_parts.MAKE, {"month": _OLD_MONTH})
        conn.execute("SET LOCAL session_replication_role = replica")
        conn.execute("UPDATE docket SET created_at = '2020-01-15' WHERE created_at > '2020-02-01'")
        [(count,)] = conn.execute("SELECT count(*) FROM docket_2020_01").fetchall()
    return int(count)


def _move(db: Database, seconds: float) -> None:
    """Archive the month, in as many runs as it takes, then make parts, all under the load."""
    give_up_at = time.monotonic() + seconds
    while _shelf(db) is not Shelf.ARCHIVE and time.monotonic() < give_up_at:
        archive.archive(db, datetime.now(UTC), months=2)
    for month in (1, 2, 3):
        time.sleep(seconds / 10)
        with db.transaction() as conn:
            conn.execute(docket_parts.MAKE, {"month": date(2021, month, 1)})


def _shelf(db: Database) -> Shelf:
    with db.transaction() as conn:
        return next(p.shelf for p in docket_parts.parts(conn) if p.month == _OLD_MONTH)


def _ratio(moving: Load, free: Load) -> float:
    return round(percentile(moving.claims, 0.99) / percentile(free.claims, 0.99), 2)


class _LockWatcher:
    """Looks for waiters until it is left."""

    def __init__(self, url: str) -> None:
        self.longest_ms = 0.0
        self.looks = self.seen = 0
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as conn:
            while not self._over.wait(0.005):
                [(longest, count)] = conn.execute(WAITING).fetchall()
                self.looks += 1
                self.seen += count > 0
                self.longest_ms = max(self.longest_ms, float(longest or 0))
