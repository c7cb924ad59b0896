"""What the broker and its worker take when there is nothing to do: an empty Celery task."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import redis

from bench.court import RunningCourt, wait_until

_ROOT = Path(__file__).parents[1]
_TASKS = 2_000
_MOST_SECONDS = 20
_QUEUE = "bench"


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
