"""Tasks by the hundred thousand: what stays behind in Redis, and what the processes grow by.

One real worker of two processes, fed by the court's own wake-ups; every tenth one has something to
apply. Compared with the state after the first tenth (users_ask C6, C12).
"""

from __future__ import annotations

import multiprocessing
import os
import time
from typing import cast

import psutil
import redis

from bench import ground, load
from bench.fleet import Meter, running, wait_until
from bench.quiet import quiet
from bench.timing import resident_bytes
from contractcourt.events import HeightReached
from contractcourt.units import BlockHeight
from storage import docket
from storage.database import Database
from storage.docket import NewEntry
from workers.process import Process

FULL = {"tasks": 1_000_000, "channels": 1_000}

_IN_FLIGHT = 500
_NEWS_EVERY = 10
_QUEUE = "arbitrate"


def run(tasks: int = 3_000, channels: int = 100) -> dict[str, object]:
    """Keys, clients and memory after a tenth of the tasks and after all.

    Args:
        tasks: wake-ups sent and carried out.
        channels: woken in turn.
    """
    with (
        ground.postgres() as url,
        ground.database(url) as db,
        ground.redis_server() as broker,
        quiet(),
    ):
        ids = load.open_channels(db, channels)
        with running(
            "worker", "--concurrency", "2", postgres=db.url, redis=broker,
            CONTRACTCOURT_MAX_TASKS_PER_CHILD="100000000",
        ) as worker, redis.Redis.from_url(broker) as client:  # fmt: skip
            assert worker.pid is not None
            pid = worker.pid
            wait_until(lambda: len(psutil.Process(pid).children()) >= 2)
            meter = Meter(pid)
            began = time.perf_counter()
            _send(db, broker, ids, tasks // 10)
            first = _state(client, worker)
            _send(db, broker, ids, tasks - tasks // 10)
            last = _state(client, worker)
            took, cpu = time.perf_counter() - began, meter.seconds()
        with db.transaction() as conn:
            left, _ = docket.backlog(conn)
    return {
        "tasks": tasks,
        "tasks_a_second": round(tasks / took, 1),
        "worker_cpu_ms_a_task": round(cpu / tasks * 1000, 3),
        "unapplied_at_the_end": left,
        "after_a_tenth": first,
        "at_the_end": last,
        "memory_end_over_tenth": [
            round(end / tenth, 3)
            for tenth, end in zip(
                cast("list[int]", first["resident_kb"]),
                cast("list[int]", last["resident_kb"]),
                strict=True,
            )
        ],
    }


def _state(client: redis.Redis, worker: Process) -> dict[str, object]:
    """At rest: nothing queued, nothing unacknowledged."""
    wait_until(lambda: not client.llen(_QUEUE) and not client.hlen("unacked"), 600)
    assert worker.pid is not None
    processes = [worker.pid, *sorted(p.pid for p in psutil.Process(worker.pid).children())]
    return {
        "redis_keys": sorted(str(key, "utf-8") for key in client.scan_iter()),
        "redis_clients": len(client.client_list()),
        "redis_kb": client.info("memory")["used_memory"] // 1024,
        "resident_kb": [resident_bytes(pid) // 1024 for pid in processes],
    }


def _send(db: Database, broker: str, ids: list[int], tasks: int) -> None:
    """By a process of its own, whose Celery app knows this broker."""
    context = multiprocessing.get_context("spawn")
    sender = context.Process(target=_sender, args=(db.url, broker, ids, tasks))
    sender.start()
    sender.join()
    assert sender.exitcode == 0


def _sender(url: str, broker: str, ids: list[int], tasks: int) -> None:
    os.environ |= {"DATABASE_URL": url, "REDIS_URL": broker}
    from tasks import wakeups

    db = Database(url, max_size=1)
    stamp = time.time_ns()
    with redis.Redis.from_url(broker) as client, quiet():
        for number in range(tasks):
            channel_id = ids[number % len(ids)]
            if number % _NEWS_EVERY == 0:
                height = HeightReached(BlockHeight(number + 1))
                entry = NewEntry(channel_id, height, f"height:{stamp}:{number}", "chain")
                with db.transaction() as conn:
                    docket.append_many(conn, [entry])
            assert wakeups.wake([channel_id])
            if number % 100 == 0:
                wait_until(lambda: cast(int, client.llen(_QUEUE)) < _IN_FLIGHT, 600)
    db.close()
