"""What nothing could beat: an empty Celery task, and one writer of the same rows."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import psutil
import psycopg
import redis
from psycopg import sql

from bench.court import RunningCourt, wait_until

_ROOT = Path(__file__).parents[1]
_TASKS = 2_000
_MOST_SECONDS = 20
_QUEUE = "bench"
#: Rows that were inserted and updated in each table that still has some; a docket's months are one.
_WRITES = """
    SELECT root::regclass::text, sum(n_tup_ins + n_tup_upd)
    FROM (SELECT coalesce(pg_partition_root(relid), relid) AS root, s.* FROM
          pg_stat_user_tables AS s) AS written
    WHERE schemaname = 'public' GROUP BY root HAVING sum(n_tup_ins + n_tup_upd) > 0 ORDER BY 1
"""
#: A session of Postgres that has nothing to do tells what it wrote after ten seconds.
_UNTOLD_SECONDS = 12
#: Rows in one COPY and one commit.
_BATCH = 10_000


def empty_task(court: RunningCourt) -> dict[str, float]:
    """Milliseconds, and milliseconds of CPU, of a task that does nothing on this court's broker.

    Two prefork processes under the court's own configuration take them from a full queue, for
    twenty seconds at most; sending them is not counted. The broker's own CPU is.
    """
    env = court.environment()
    send = f"from bench.nothing import nothing\nfor _ in range({_TASKS}): nothing.delay()"
    subprocess.run([sys.executable, "-c", send], cwd=_ROOT, env=env, check=True)
    command = [sys.executable, "-m", "celery", "-A", "bench.nothing", "worker", "--pool=prefork"]
    command += ["--concurrency=2", f"--queues={_QUEUE}", "--task-events", "--loglevel=error"]
    command += ["--without-gossip", "--without-mingle", "--hostname=bench@%h"]
    with redis.Redis.from_url(court.endpoints["redis"]) as broker:
        waiting = broker.llen(_QUEUE)
        worker = subprocess.Popen(command, cwd=_ROOT, env=env, stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: broker.llen(_QUEUE) < waiting, "the empty tasks to begin")
            began, first, before = time.monotonic(), broker.llen(_QUEUE), _cpu(court, worker)
            while (left := broker.llen(_QUEUE)) and time.monotonic() < began + _MOST_SECONDS:
                time.sleep(0.05)
            seconds, cpu = time.monotonic() - began, _cpu(court, worker) - before
        finally:
            worker.terminate()
            worker.wait()
            broker.delete(_QUEUE)
    done = first - left
    return {
        "tasks": done,
        "ms": round(seconds / done * 1000, 3),
        "cpu_ms": round(cpu / done * 1000, 3),
    }


def _cpu(court: RunningCourt, worker: subprocess.Popen[bytes]) -> float:
    """Seconds of the worker with its children, and of the broker."""
    parent = psutil.Process(worker.pid)
    brokers = [pid for pid, part in court.processes().items() if part == "redis"]
    processes = [parent, *parent.children(), *map(psutil.Process, brokers)]
    return float(sum(p.cpu_times().user + p.cpu_times().system for p in processes))


class Copied(TypedDict):
    """What one connection wrote."""

    rows: int
    bytes: int
    seconds: float
    cpu_seconds: float


class Floor(TypedDict):
    """What a `postgres_writer` took: each row once, then as often again as it was written."""

    seconds: float
    once: Copied
    again: Copied
    writes: dict[str, int]


def postgres_writer(court: RunningCourt) -> Floor:
    """What this run wrote since the statistics were reset, by one connection with COPY.

    As many rows of each table as the court inserted and updated, with what the newest of them hold
    now, ten thousand in a durable commit. They are appended to tables with the same columns,
    checks, indexes and storage: no row is looked for, locked, or held against another table's.
    `once` is the part of it that writes each row but once, as it is at the end.
    """
    time.sleep(_UNTOLD_SECONDS)
    with psycopg.connect(court.endpoints["postgres"], autocommit=True) as conn:
        conn.execute("CREATE SCHEMA floor")
        writes = {table: int(count) for table, count in conn.execute(_WRITES).fetchall()}
        rows = {table: _newest(conn, table, count) for table, count in writes.items()}
        once = _copy(conn, [(table, lines) for table, lines in rows.items() if lines])
        conn.execute("DROP SCHEMA floor CASCADE")
        conn.execute("CREATE SCHEMA floor")
        again = _copy(conn, list(_written_again(writes, rows)))
    return {
        "seconds": round(once["seconds"] + again["seconds"], 3),
        "once": once,
        "again": again,
        "writes": {table: writes[table] for table, lines in rows.items() if lines},
    }


def _written_again(
    writes: dict[str, int], rows: dict[str, list[bytes]]
) -> Iterator[tuple[str, list[bytes]]]:
    for table, lines in rows.items():
        left = writes[table] - len(lines) if lines else 0
        while left > 0:
            yield table, lines[:left]
            left -= len(lines)


def _copy(conn: psycopg.Connection, passes: list[tuple[str, list[bytes]]]) -> Copied:
    """Each into a table of its own, for a row has a key that it can't share with itself."""
    copies = [
        (_create_like(conn, table, f"{table}_{number}"), lines)
        for number, (table, lines) in enumerate(passes)
    ]
    began, before = time.monotonic(), _backend_cpu(conn)
    for copy, lines in copies:
        for start in range(0, len(lines), _BATCH):
            with conn.transaction(), conn.cursor().copy(copy) as out:
                out.write(b"".join(lines[start : start + _BATCH]))
    seconds, cpu = time.monotonic() - began, _backend_cpu(conn) - before
    return {
        "rows": sum(len(lines) for _, lines in passes),
        "bytes": sum(len(line) for _, lines in passes for line in lines),
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu, 3),
    }


def _create_like(conn: psycopg.Connection, table: str, copy: str) -> sql.Composed:
    """A table like this one, and the COPY that fills it."""
    like, name = sql.Identifier("public", table), sql.Identifier("floor", copy)
    conn.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(name, like))
    # LIKE leaves these out: without them the writer compresses cases, which the court does not.
    found = conn.execute(
        "SELECT unnest(reloptions) FROM pg_class WHERE oid = %s::regclass", [f"public.{table}"]
    )
    for (option,) in found.fetchall():
        conn.execute(sql.SQL("ALTER TABLE {} SET ({})").format(name, sql.SQL(option)))
    return sql.SQL("COPY {} ({}) FROM STDIN").format(name, _columns(conn, table))


def _newest(conn: psycopg.Connection, table: str, most: int) -> list[bytes]:
    """Rows of this table in COPY's words, those that lie last first."""
    query = sql.SQL(
        "COPY (SELECT {} FROM public.{} ORDER BY tableoid DESC, ctid DESC LIMIT {}) TO STDOUT"
    ).format(_columns(conn, table), sql.Identifier(table), sql.Literal(most))
    with conn.cursor().copy(query) as read:
        return [bytes(line) for line in read]


def _backend_cpu(conn: psycopg.Connection) -> float:
    """Seconds of the connection's server process and of this one."""
    times = [psutil.Process(pid).cpu_times() for pid in (conn.info.backend_pid, os.getpid())]
    return float(sum(t.user + t.system for t in times))


def _columns(conn: psycopg.Connection, table: str) -> sql.Composable:
    """Those that can be written: generated ones follow from the others."""
    found = conn.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' "
        "AND table_name = %s AND is_generated = 'NEVER' ORDER BY ordinal_position",
        [table],
    )
    return sql.SQL(", ").join(sql.Identifier(row[0]) for row in found)
