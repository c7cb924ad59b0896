"""Full load behind the door: events appended, found, applied, and their effects carried out.

Each worker is a process of its own and does what the watcher, reconcile, a Celery worker and the
carrier of effects do, one after the other, through the same functions.
"""

from __future__ import annotations

import multiprocessing
import time
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.queues import Queue
from typing import Any

from bench.quiet import quiet
from bench.timing import cpu_seconds
from contractcourt.effects import AskLocalPoint
from contractcourt.events import HeightReached
from contractcourt.units import BlockHeight
from storage import docket, outbox
from storage.database import Database
from storage.docket import NewEntry
from tasks import arbitration
from tests.storage import examples

_WORKERS = 2
_CHUNK = 50
#: How often each worker looks for what is unapplied; in a court it is done every 15 s.
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Load:
    """What the workers did; times are milliseconds.

    `claims`: locking, reading, applying and storing one chunk. `looks`: finding what is unapplied.
    """

    events_a_second: float
    cpu_ms_an_event: float
    claims: list[float]
    looks: list[float]


def open_channels(db: Database, count: int) -> list[int]:
    """So many channels of one node; their ids."""
    with db.transaction() as conn:
        examples.add_node(conn)
        return [examples.open_channel(conn, number) for number in range(1, count + 1)]


def put_on(url: str, ids: list[int], seconds: float, first_height: int) -> Load:
    """Work on these channels for so long; heights go up from the given one."""
    context = multiprocessing.get_context("spawn")
    answers: Queue[Any] = context.Queue()
    shares = [ids[number::_WORKERS] for number in range(_WORKERS)]
    workers = [
        context.Process(target=_work, args=(url, share, seconds, first_height, answers))
        for share in shares
    ]
    for worker in workers:
        worker.start()
    told = [answers.get(timeout=seconds + 120) for _ in workers]
    for worker in workers:
        worker.join()
    applied = sum(one[0] for one in told)
    return Load(
        events_a_second=sum(one[0] / one[1] for one in told),
        cpu_ms_an_event=sum(one[2] for one in told) / applied * 1000,
        claims=[claim for one in told for claim in one[3]],
        looks=[look for one in told for look in one[4]],
    )


def _work(url: str, ids: list[int], seconds: float, first_height: int, answers: Queue[Any]) -> None:
    """Rounds over all channels until the time is over."""
    with closing(Database(url, max_size=1)) as db, quiet():
        with db.transaction() as conn:
            session = conn.info.backend_pid
        claims: list[float] = []
        looks: list[float] = []
        applied, height = 0, first_height
        looked = float("-inf")
        began, worked = time.monotonic(), time.process_time() + cpu_seconds(session)
        while time.monotonic() - began < seconds:
            height += 1
            for start in range(0, len(ids), _CHUNK):
                chunk = ids[start : start + _CHUNK]
                if time.monotonic() - looked >= _LOOK_SECONDS:
                    looked = time.monotonic()
                    looks.append(_look(db))
                applied += _one_chunk(db, chunk, height, claims)
        cpu = time.process_time() + cpu_seconds(session) - worked
        answers.put((applied, time.monotonic() - began, cpu, claims, looks))


def _look(db: Database) -> float:
    """Find what is unapplied; milliseconds."""
    began = time.perf_counter()
    with db.transaction() as conn:
        docket.unapplied_channels(conn, 0.0, 1_000)
    return (time.perf_counter() - began) * 1000


def _one_chunk(db: Database, chunk: list[int], height: int, claims: list[float]) -> int:
    event, key = HeightReached(BlockHeight(height)), f"height:{height}"
    with db.transaction() as conn:
        docket.append_many(conn, [NewEntry(c, event, key, "chain") for c in chunk])
    began = time.perf_counter()
    applied = arbitration.arbitrate(db, chunk).applied
    claims.append((time.perf_counter() - began) * 1000)
    with db.transaction() as conn:
        rows = outbox.put_many(conn, [(c, AskLocalPoint(height)) for c in chunk])
    with db.transaction() as conn:
        taken = outbox.take(conn, rows)
        outbox.mark_sent_many(conn, [row.id for row in taken])
    return applied
