"""Full load while a REPEATABLE READ transaction keeps every dead row from being cleaned away (P1).

The same load without it, in the same run, is the floor. What is measured is the end of the time
that the snapshot is held: at full size the last of ten minutes; at the quick one the dead rows that
full load would leave behind are made at once, so that the bench need not wait for them.
"""

from __future__ import annotations

import psycopg

from bench import ground, load
from bench.load import Load
from bench.timing import percentile
from storage.database import Database

FULL = {"seconds": 60, "channels": 2_000, "dead": 0, "loaded_seconds": 540}

#: What so many events leave behind: a taken-off row each in `unapplied` and `outbox`, a version
#: each of a case.
ROT = (
    "INSERT INTO unapplied SELECT c.id, 1000000 + n FROM channels AS c,"
    " generate_series(1, %(rounds)s) AS n",
    "DELETE FROM unapplied WHERE seq > 1000000",
    "INSERT INTO outbox (channel_id, kind, effect) SELECT c.id, 'ask_local_point', '{}'"
    " FROM channels AS c, generate_series(1, %(rounds)s) AS n",
    "UPDATE outbox SET sent_at = clock_timestamp() WHERE sent_at IS NULL AND %(rounds)s > 0",
)
ROT_CASES = "UPDATE cases SET version = version + 1"
DEAD = """
    SELECT relname, n_dead_tup FROM pg_stat_user_tables
    WHERE n_dead_tup > 0 ORDER BY n_dead_tup DESC LIMIT 6
"""


def run(
    seconds: int = 20, channels: int = 500, dead: int = 100_000, loaded_seconds: int = 0
) -> dict[str, object]:
    """Rates, claim times and what is dead at the end.

    Args:
        seconds: that are measured, without the snapshot and under it.
        channels: worked on, over and over.
        dead: events whose dead rows are made under the snapshot.
        loaded_seconds: of full load under it, before it is measured.
    """
    with ground.postgres() as url, ground.database(url) as db:
        ids = load.open_channels(db, channels)
        load.put_on(db.url, ids, 5, 1)
        free = load.put_on(db.url, ids, seconds, 1_000_000)
        with psycopg.connect(db.url) as holding:
            holding.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            holding.execute("SELECT count(*) FROM channels")
            _let_rot(db, dead // channels)
            if loaded_seconds:
                load.put_on(db.url, ids, loaded_seconds, 2_000_000)
            held = load.put_on(db.url, ids, seconds, 3_000_000)
            with db.transaction() as conn:
                rows = [(str(name), int(count)) for name, count in conn.execute(DEAD)]
    return {
        "channels": channels,
        "dead_events": dead,
        "loaded_seconds": loaded_seconds,
        "free": _figures(free),
        "held": _figures(held),
        "rate_held_over_free": round(held.events_a_second / free.events_a_second, 3),
        "cpu_held_over_free": round(held.cpu_ms_an_event / free.cpu_ms_an_event, 3),
        "claim_p99_held_over_free": _ratio(held.claims, free.claims),
        "look_p99_held_over_free": _ratio(held.looks, free.looks),
        "dead_rows_at_the_end": dict(rows),
    }


def _let_rot(db: Database, rounds: int) -> None:
    with db.transaction() as conn:
        conn.execute("SET LOCAL statement_timeout = '10min'")
        for statement in ROT:
            conn.execute(statement, {"rounds": rounds})
    for _ in range(rounds):
        with db.transaction() as conn:
            conn.execute(ROT_CASES)


def _figures(load: Load) -> dict[str, float]:
    return {
        "events_a_second": round(load.events_a_second, 1),
        "cpu_ms_an_event": round(load.cpu_ms_an_event, 3),
        "claim_median_ms": round(percentile(load.claims, 0.5), 2),
        "claim_p99_ms": round(percentile(load.claims, 0.99), 2),
        "look_median_ms": round(percentile(load.looks, 0.5), 2),
        "look_p99_ms": round(percentile(load.looks, 0.99), 2),
    }


def _ratio(held: list[float], free: list[float]) -> float:
    return round(percentile(held, 0.99) / percentile(free, 0.99), 2)
