"""Processes of the court as an operator starts them, over the bench's own Postgres and Redis."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from workers.process import Process, Program

#: What a process needs to be told before it starts, although nothing here uses it.
_UNUSED = {
    "BITCOIND_URL": "http://nobody:nothing@127.0.0.1:9",
    "CONTRACTCOURT_SIGNER_URL": "http://127.0.0.1:9",
    "CONTRACTCOURT_SIGNER_TOKEN": "not a token of any signer",
    "CONTRACTCOURT_OPERATOR_TOKEN": "the operator of this bench",
    "CONTRACTCOURT_LOG_LEVEL": "error",
}


@contextmanager
def running(*command: str, postgres: str, redis: str, **settings: str) -> Iterator[Process]:
    """`contractcourt COMMAND` for the length of a `with`; its log is thrown away after it."""
    with tempfile.TemporaryDirectory(prefix="contractcourt-bench-") as folder:
        environment = {**_UNUSED, "DATABASE_URL": postgres, "REDIS_URL": redis, **settings}
        argv = (sys.executable, "-m", "workers.cli", *command, "--data-dir", folder)
        process = Process(Program(command[0], argv, environment), logs=Path(folder))
        process.start()
        try:
            yield process
        finally:
            process.ask_to_stop()
            process.finish()


class Meter:
    """Processor time of processes and all their children, those that have ended included."""

    def __init__(self, *pids: int | None) -> None:
        self._roots = [psutil.Process(pid) for pid in pids if pid is not None]
        self._began = self._total()

    def seconds(self) -> float:
        """Since the meter was made."""
        return self._total() - self._began

    def _total(self) -> float:
        total = 0.0
        for root in self._roots:
            for process in (root, *root.children(recursive=True)):
                try:
                    times = process.cpu_times()
                except psutil.NoSuchProcess:
                    continue
                total += times.user + times.system
            own = root.cpu_times()
            total += own.children_user + own.children_system
        return total


def wait_until(ready: Callable[[], bool], seconds: float = 90.0) -> None:
    """Raises TimeoutError when it does not come about."""
    give_up_at = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > give_up_at:
            raise TimeoutError("what the bench waits for does not come about")
        time.sleep(0.05)
