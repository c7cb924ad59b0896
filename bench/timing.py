"""Times and memory: wall beside processor time, because a machine is hardly ever idle."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from storage.database import Database


def median_seconds(work: Callable[[], object], runs: int) -> float:
    """The median processor time of one call in this process, after one that does not count."""
    work()
    taken = []
    for _ in range(runs):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so large a share of the others stays below; NaN of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The power of its size that a cost grows with: the slope in double logarithms."""
    xs = [math.log(size) for size in sizes]
    ys = [math.log(cost) for cost in costs]
    return statistics.linear_regression(xs, ys).slope


def resident_bytes(pid: int | str = "self") -> int:
    """What a process holds in memory now (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has had (Linux)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


class Stopwatch:
    """Time of this thread's work and of the one Postgres session it uses."""

    def __init__(self, db: Database) -> None:
        with db.transaction() as conn:
            self._session = conn.info.backend_pid

    def wall(self) -> float:
        """Seconds by the clock."""
        return time.perf_counter()

    def cpu(self) -> float:
        """Seconds of processor time, of both."""
        return time.process_time() + cpu_seconds(self._session)
