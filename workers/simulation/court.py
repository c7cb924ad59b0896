"""A whole court of one's own for a while: started by `up`, killed, started again, stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from workers.errors import WorkerError
from workers.process import leash
from workers.simulation.client import CourtClient, CourtStopped, KnownNodes, NodeAccount

_START_SECONDS = 240
_STOP_SECONDS = 40
_EXTERNAL = ("DATABASE_URL", "REDIS_URL", "BITCOIND_URL")
#: Simulated blocks come in seconds, not in minutes.
_HURRIED = {
    "CONTRACTCOURT_POLL_SECONDS": "0.1",
    "CONTRACTCOURT_GRACE_SECONDS": "0",
    "CONTRACTCOURT_RECONCILE_SECONDS": "2",
    "CONTRACTCOURT_REBROADCAST_SECONDS": "5",
}


class CourtDidNotStart(WorkerError):
    """`contractcourt up` ended before it was ready; its output says why."""


class RunningCourt:
    """`contractcourt up` in `data_dir`, and a client of it.

    Its services are embedded, but for those whose variables are `given`. Whoever sets `stopping`
    ends what is waited for, here and in the client.
    """

    client: CourtClient

    def __init__(
        self,
        data_dir: Path,
        *,
        workers: int = 2,
        given: Mapping[str, str] | None = None,
        stopping: threading.Event | None = None,
    ) -> None:
        self.data_dir = data_dir
        self._stopping = stopping or threading.Event()
        self._workers = workers
        self._given = dict(given or {})
        self._nodes = KnownNodes()
        self._up: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        return self.data_dir / "up.log"

    @property
    def endpoints_path(self) -> Path:
        return self.data_dir / "endpoints.json"

    def start(self) -> None:
        """Start everything and wait until it is ready; else nothing of it runs any more.

        Raises CourtDidNotStart.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.endpoints_path.unlink(missing_ok=True)
        command = [sys.executable, "-m", "workers.cli", "up", "--data-dir", str(self.data_dir)]
        command += ["--port", "0", "--workers", str(self._workers)]
        with self.log_path.open("ab") as log:
            self._up = subprocess.Popen(
                command,
                env={k: v for k, v in os.environ.items() if k not in _EXTERNAL}
                | _HURRIED
                | self._given,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Ctrl-C does not reach it, and whoever ends us otherwise does not know of it.
                preexec_fn=leash(signal.SIGTERM),
            )
        try:
            self._wait_ready(self._up)
        except BaseException:
            self._end(self._up)
            raise
        self.client = CourtClient(json.loads(self.endpoints_path.read_text()), self._stopping)

    def _wait_ready(self, up: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and up.poll() is None:
            if self.endpoints_path.exists():
                return
            if self._stopping.wait(0.05):
                raise CourtStopped
        tail = self.log_path.read_text(errors="replace")[-2000:]
        raise CourtDidNotStart(f"the court did not start:\n{tail}")

    def kill_everything_and_start_again(self) -> None:
        """Every process of the court gets SIGKILL at once; then it is started anew."""
        self.client.close()
        if self._up is not None:
            self._up.kill()
            self._up.wait()
        self.start()

    def kill(self, part: str) -> None:
        """SIGKILL the worker or the beat with its children, which `up` then starts anew."""
        ready_file = str(self.data_dir / "run" / f"{part}.ready")
        listing = subprocess.run(
            ["ps", "-axo", "pid=,args="], capture_output=True, text=True, check=True
        )
        for line in listing.stdout.splitlines():
            pid, _, arguments = line.strip().partition(" ")
            if ready_file in arguments:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)

    def stop(self) -> None:
        """Stop everything, in order."""
        self.client.close()
        if self._up is not None:
            self._end(self._up)

    @staticmethod
    def _end(up: subprocess.Popen[bytes]) -> None:
        up.send_signal(signal.SIGTERM)
        try:
            up.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            up.kill()
            up.wait()

    def node(self, name: str, sweep_script: bytes, webhook_url: str | None = None) -> NodeAccount:
        """A node of this name: at the first time of asking, registered and given a fee wallet."""
        return self._nodes.account(self.client, name, sweep_script, webhook_url)


@contextmanager
def running_court(
    data_dir: Path, *, workers: int = 2, stopping: threading.Event | None = None
) -> Iterator[RunningCourt]:
    """A court for the length of a `with`; nothing of it runs afterwards."""
    court = RunningCourt(data_dir, workers=workers, stopping=stopping)
    court.start()
    try:
        yield court
    finally:
        court.stop()
