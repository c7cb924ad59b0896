"""A whole court of one's own for a while: started by `up`, stopped without a trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workers.errors import WorkerError
from workers.simulation.client import CourtClient

_START_SECONDS = 90
_STOP_SECONDS = 40
_EXTERNAL = ("DATABASE_URL", "REDIS_URL", "BITCOIND_URL")


class CourtDidNotStart(WorkerError):
    """`contractcourt up` ended before it was ready; its output says why."""


@contextmanager
def running_court(data_dir: Path, *, workers: int = 2) -> Iterator[CourtClient]:
    """Start `contractcourt up` with embedded services in `data_dir`, and stop it at the end."""
    environment = {k: v for k, v in os.environ.items() if k not in _EXTERNAL}
    log_path = data_dir / "up.log"
    data_dir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "workers.cli", "up", "--data-dir", str(data_dir)]
    command += ["--port", "0", "--workers", str(workers)]
    with log_path.open("wb") as log:
        up = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_ready(up, data_dir, log_path)
        client = CourtClient.of(data_dir)
        try:
            yield client
        finally:
            client.close()
    finally:
        up.send_signal(signal.SIGTERM)
        try:
            up.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            up.kill()
            up.wait()


def _wait_ready(up: subprocess.Popen[bytes], data_dir: Path, log_path: Path) -> None:
    endpoints = data_dir / "endpoints.json"
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if endpoints.exists():
            return
        if up.poll() is not None:
            break
        time.sleep(0.05)
    tail = log_path.read_text(errors="replace")[-2000:]
    raise CourtDidNotStart(f"the court did not start:\n{tail}")
