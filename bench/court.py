"""A whole court under measurement: `contractcourt up`, its processes, and what each costs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TypedDict

import psutil
import psycopg

from bench.network import Court
from workers.process import leash

_PATIENCE_SECONDS = 120
#: What a court of this size would be given; durability stays as it is.
_POSTGRES = {"shared_buffers": "256MB", "max_wal_size": "4GB", "checkpoint_timeout": "15min"}
_SETTINGS = {
    "CONTRACTCOURT_GRACE_SECONDS": "0",
    "CONTRACTCOURT_LOG_LEVEL": "info",
}


class RunningCourt:
    """`contractcourt up` with a Postgres and a Redis of its own, before the given node."""

    def __init__(self, folder: Path, bitcoind_url: str, poll_seconds: float) -> None:
        self._folder = folder
        outside = ("DATABASE_URL", "REDIS_URL", "BITCOIND_URL")
        env = {k: v for k, v in os.environ.items() if k not in outside}
        command = [sys.executable, "-m", "workers.cli", "up", "--data-dir", str(folder)]
        self._log = (folder / "up.log").open("wb")
        self._up = subprocess.Popen(
            [*command, "--port", "0", "--workers", "2"],
            env={
                **env,
                **_SETTINGS,
                "BITCOIND_URL": bitcoind_url,
                "CONTRACTCOURT_POLL_SECONDS": str(poll_seconds),
            },
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A bench that is killed leaves no court behind.
            preexec_fn=leash(signal.SIGTERM),
        )
        path = folder / "endpoints.json"
        wait_until(lambda: path.exists() or self._up.poll() is not None, "the court to start")
        if not path.exists():
            raise RuntimeError(f"the court did not start: {self._log_tail()}")
        self.endpoints: dict[str, str] = json.loads(path.read_text())

    def _log_tail(self) -> str:
        return (self._folder / "up.log").read_text(errors="replace")[-1_500:]

    @property
    def court(self) -> Court:
        """Where its rows and keys are."""
        return Court(self.endpoints["postgres"], Path(self.endpoints["seal_key_file"]))

    def environment(self) -> dict[str, str]:
        """What another process of its fleet is told."""
        return {
            **os.environ,
            "DATABASE_URL": self.endpoints["postgres"],
            "REDIS_URL": self.endpoints["redis"],
            "BITCOIND_URL": "http://bench:bench@127.0.0.1:1",
            "CONTRACTCOURT_DATA_DIR": str(self._folder),
        }

    def processes(self) -> dict[int, str]:
        """Every process by id, with the name of its part."""
        named = {}
        for process in psutil.Process(self._up.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                named[process.pid] = _part(process)
        return named

    @contextmanager
    def held(self, part: str) -> Iterator[None]:
        """While the `with` lasts no process of this part runs, as if its host were busy."""
        pids = [pid for pid, name in self.processes().items() if name == part]
        if not pids:
            raise RuntimeError(f"no process of the court is called {part}")
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """One look into its database."""
        return self._conn.execute(sql).fetchall()

    def execute(self, sql: str) -> None:
        """One statement, without an answer."""
        self._conn.execute(sql)

    @cached_property
    def _conn(self) -> psycopg.Connection[tuple[object, ...]]:
        # One for all looks: beginning a session costs more than most of them.
        return psycopg.connect(self.endpoints["postgres"], autocommit=True)

    def stop(self) -> None:
        """Stop everything."""
        self._conn.close()
        self._up.send_signal(signal.SIGTERM)
        try:
            self._up.wait(60)
        except subprocess.TimeoutExpired:
            self._up.kill()
            self._up.wait()
        self._log.close()


@contextmanager
def running_court(bitcoind_url: str, *, poll_seconds: float = 1.0) -> Iterator[RunningCourt]:
    """A court for the length of a `with`, in a folder that goes with it.

    Args:
        poll_seconds: how often its watcher asks for news, a court's own default here.
    """
    folder = Path(tempfile.mkdtemp(prefix="contractcourt-bench-"))
    try:
        court = RunningCourt(folder, bitcoind_url, poll_seconds)
        try:
            with psycopg.connect(court.endpoints["postgres"], autocommit=True) as conn:
                for name, value in _POSTGRES.items():
                    conn.execute(f"ALTER SYSTEM SET {name} = '{value}'")
                conn.execute("SELECT pg_reload_conf()")
            yield court
        finally:
            court.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Taken(TypedDict):
    """What a `Meter` has measured."""

    seconds: float
    cpu_seconds: float
    cpu_seconds_by_part: dict[str, float]
    memory_peak: dict[str, dict[str, float]]


class Meter:
    """CPU seconds of every part between `start` and `stop`, and the memory peak of each process."""

    def __init__(self, court: RunningCourt) -> None:
        self._court = court
        self._pss: dict[int, int] = defaultdict(int)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def start(self) -> None:
        """From here on."""
        self._before = self._cpu()
        self._began = time.monotonic()
        self._thread.start()

    def stop(self) -> Taken:
        """What it took: seconds by part, and MB by process (proportional set size at its peak)."""
        self._over.set()
        self._thread.join()
        after, seconds = self._cpu(), time.monotonic() - self._began
        names = self._court.processes()
        spent: dict[str, float] = defaultdict(float)
        for pid, cpu in after.items():
            spent[names.get(pid, "gone")] += cpu - self._before.get(pid, 0.0)
        memory = {
            f"{names.get(pid, 'gone')}[{pid}]": {
                "pss_mb": round(self._pss[pid] / 1e6, 1),
                "rss_mb": round(_peak_rss(pid) / 1e6, 1),
            }
            for pid in sorted(names)
        }
        return {
            "seconds": round(seconds, 2),
            "cpu_seconds": round(sum(spent.values()), 2),
            "cpu_seconds_by_part": {n: round(s, 2) for n, s in sorted(spent.items())},
            "memory_peak": memory,
        }

    def _cpu(self) -> dict[int, float]:
        spent = {}
        for pid in self._court.processes():
            with suppress(psutil.NoSuchProcess):
                times = psutil.Process(pid).cpu_times()
                spent[pid] = times.user + times.system
        return spent

    def _sample(self) -> None:
        while not self._over.wait(2.0):
            for pid in self._court.processes():
                with suppress(psutil.Error, AttributeError):
                    pss = psutil.Process(pid).memory_full_info().pss
                    self._pss[pid] = max(self._pss[pid], pss)


def _peak_rss(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return 0


_PARTS = ("gateway", "watcher", "signer", "beat", "flower", "redis", "postgres")


def _part(process: psutil.Process) -> str:
    words = " ".join(process.cmdline())
    if "urgent-sweeps" in words:
        return "urgent sweeps"
    if "urgent@" in words or "urgent.ready" in words:
        return "urgent worker"
    if "worker.ready" in words:
        return "worker"
    return next((part for part in _PARTS if part in words), process.name())


def wait_until(true: Callable[[], bool], what: str, seconds: float = _PATIENCE_SECONDS) -> None:
    """Poll. Raises TimeoutError, naming `what`, when it never is."""
    give_up_at = time.monotonic() + seconds
    while not true():
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.1)
