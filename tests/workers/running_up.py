"""`contractcourt up` as a person starts it, and every process it starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

#: What a test machine may have set, and an embedded court must not see.
_NOT_HANDED_ON = ("DATABASE_URL", "REDIS_URL", "BITCOIND_URL", "CONTRACTCOURT_", "FLOWER_")
_START_SECONDS = 120.0
_END_SECONDS = 60.0


def clean_environment() -> dict[str, str]:
    """Ours, without anything that a court would listen to."""
    return {k: v for k, v in os.environ.items() if not k.startswith(_NOT_HANDED_ON)}


class RunningUp:
    """One `up` on one folder. `prefix` is put before the command, `setpriv ...` for example."""

    def __init__(self, folder: Path, *options: str, prefix: Sequence[str] = ()) -> None:
        self.folder = folder
        self.log = folder.with_name(f"{folder.name}.log")
        command = [*prefix, sys.executable, "-m", "workers.cli", "up", "--data-dir", str(folder)]
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                [*command, *options],
                env={**clean_environment(), "HOME": str(folder.parent)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._seen: set[psutil.Process] = set()

    def wait_ready(self) -> dict[str, str]:
        """The endpoints, once they are announced by this very `up`."""
        give_up_at = time.monotonic() + _START_SECONDS
        while "The court is in session" not in self.words():
            assert self.popen.poll() is None, self.words()
            assert time.monotonic() < give_up_at, self.words()
            time.sleep(0.1)
        self.processes()
        endpoints: dict[str, str] = json.loads((self.folder / "endpoints.json").read_bytes())
        return endpoints

    def words(self) -> str:
        """Everything it has said."""
        return self.log.read_text(errors="replace")

    def processes(self) -> set[psutil.Process]:
        """What runs now below `up`; remembered for `left_over`."""
        now = set(psutil.Process(self.popen.pid).children(recursive=True))
        self._seen |= now
        return now

    def left_over(self) -> set[psutil.Process]:
        """What it started and still runs, after it was given time to end."""
        gone_at = time.monotonic() + _END_SECONDS
        running = self._seen
        while running and time.monotonic() < gone_at:
            running = {p for p in running if p.is_running() and p.status() != "zombie"}
            time.sleep(0.05)
        return running

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal `up`, and wait until it ends; its exit code."""
        self.processes()
        self.popen.send_signal(number)
        return self.popen.wait(_END_SECONDS)

    def kill(self) -> None:
        """Whatever a failed test left."""
        if self.popen.poll() is None:
            self.end()
        self.left_over()
        self.log.unlink(missing_ok=True)


def cli(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command on this data folder."""
    return subprocess.run(
        [sys.executable, "-m", "workers.cli", *arguments],
        env={**clean_environment(), "CONTRACTCOURT_DATA_DIR": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
