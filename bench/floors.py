"""What nothing could beat: an empty Celery task, and one writer of the same rows."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import redis
from psycopg import sql

from bench.court import RunningCourt, wait_until

_ROOT = Path(__file__).parents[1]
_TASKS = 2_000
_MOST_SECONDS = 20
_QUEUE = "bench"
#: The tables that a close writes to, and how the rows of this run are told from older ones.
_WRITTEN = {
    "docket": "source <> 'node'",
    "cases": "true",
    "spends": "true",
    "contracts": "true",
    "channel_resolutions": "true",
    "outbox": "true",
    "sweep_inputs": "true",
    "broadcasts": "true",
    "broadcast_inputs": "true",
    "watches": "from_height IS NOT NULL",
    "deadlines": "true",
}
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


def postgres_writer(court: RunningCourt) -> dict[str, float]:
    """The rows of this run, written once more by one connection with COPY and durable commits.

    Into tables with the same columns, checks, indexes and storage, in batches of ten thousand.
    """
    rows, size = 0, 0
    with psycopg.connect(court.endpoints["postgres"], autocommit=True) as conn:
        conn.execute("CREATE SCHEMA floor")
        batches = []
        for table, condition in _WRITTEN.items():
            _create_like(conn, table)
            batches += [(table, batch) for batch in _read(conn, table, condition)]
        began, before = time.monotonic(), _backend_cpu(conn)
        for table, batch in batches:
            copy = sql.SQL("COPY floor.{} ({}) FROM STDIN").format(
                sql.Identifier(table), _columns(conn, table)
            )
            with conn.transaction(), conn.cursor().copy(copy) as out:
                out.write(b"".join(batch))
            rows, size = rows + len(batch), size + sum(map(len, batch))
        seconds, cpu = time.monotonic() - began, _backend_cpu(conn) - before
    return {
        "rows": rows,
        "bytes": size,
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu, 3),
        "rows_per_second": round(rows / seconds),
    }


def _create_like(conn: psycopg.Connection, table: str) -> None:
    name = sql.Identifier(table)
    conn.execute(sql.SQL("CREATE TABLE floor.{0} (LIKE public.{0} INCLUDING ALL)").format(name))
    # LIKE leaves these out: without them the writer compresses cases, which the court does not.
    found = conn.execute(
        "SELECT unnest(reloptions) FROM pg_class WHERE oid = %s::regclass", [f"public.{table}"]
    )
    for (option,) in found.fetchall():
        conn.execute(sql.SQL("ALTER TABLE floor.{} SET ({})").format(name, sql.SQL(option)))


def _backend_cpu(conn: psycopg.Connection) -> float:
    """Seconds of the connection's server process and of this one."""
    times = [psutil.Process(pid).cpu_times() for pid in (conn.info.backend_pid, os.getpid())]
    return float(sum(t.user + t.system for t in times))


def _read(conn: psycopg.Connection, table: str, condition: str) -> list[list[bytes]]:
    query = sql.SQL("COPY (SELECT {} FROM public.{} WHERE {}) TO STDOUT").format(
        _columns(conn, table),
        sql.Identifier(table),
        sql.SQL(condition),
    )
    with conn.cursor().copy(query) as read:
        lines = [bytes(line) for line in read]
    return [lines[start : start + _BATCH] for start in range(0, len(lines), _BATCH)]


def _columns(conn: psycopg.Connection, table: str) -> sql.Composable:
    """Those that can be written: generated ones follow from the others."""
    found = conn.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' "
        "AND table_name = %s AND is_generated = 'NEVER' ORDER BY ordinal_position",
        [table],
    )
    return sql.SQL(", ").join(sql.Identifier(row[0]) for row in found)
