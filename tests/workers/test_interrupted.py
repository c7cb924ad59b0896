"""What starts a court of its own and is interrupted: nothing of it runs on, and it ends soon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.workers.running_up import clean_environment
from workers.cli.exits import Exit

RECORDINGS = Path(__file__).parent.parent / "data" / "ldk"
_START_SECONDS, _END_SECONDS = 60.0, 60.0


@contextmanager
def running(*arguments: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One command, in a session of its own as in a terminal; nothing is left of it afterwards."""
    command = subprocess.Popen(
        [sys.executable, "-m", "workers.cli", *arguments],
        env={**clean_environment(), "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=_hear_ctrl_c,
    )
    try:
        yield command
    finally:
        for process in descendants(command.pid):
            process.kill()
        command.kill()
        command.wait()


def _hear_ctrl_c() -> None:
    # A shell has what it starts in the background ignore it, and whatever that starts in turn.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def descendants(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def wait_for_part(pid: int, name: str) -> set[psutil.Process]:
    """All that runs below it, once there is such a process."""
    give_up_at = time.monotonic() + _START_SECONDS
    while True:
        below = descendants(pid)
        if any(name in " ".join(command_of(process)) for process in below):
            return set(below)
        assert time.monotonic() < give_up_at, name
        time.sleep(0.05)


def command_of(process: psutil.Process) -> Sequence[str]:
    try:
        words: Sequence[str] = process.cmdline()
    except psutil.Error:
        return ()
    return words


def left_over(started: set[psutil.Process]) -> set[psutil.Process]:
    """What still runs after it was given time to end; then that is ended too."""
    gone_at = time.monotonic() + _END_SECONDS
    while started and time.monotonic() < gone_at:
        started = {p for p in started if p.is_running() and p.status() != "zombie"}
        time.sleep(0.05)
    for process in started:
        process.kill()
    return started


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_demo_that_is_ended_while_its_court_starts_leaves_none(
    number: signal.Signals, tmp_path: Path
) -> None:
    with running("demo", tmp_path=tmp_path) as demo:
        started = wait_for_part(demo.pid, "cluster")
        os.kill(demo.pid, number)
        demo.wait(_END_SECONDS)
        assert left_over(started) == set()


def test_ctrl_c_ends_a_replay_and_not_only_its_next_line(tmp_path: Path) -> None:
    with running("replay", str(RECORDINGS), tmp_path=tmp_path) as replay:
        started = wait_for_part(replay.pid, "gateway")
        began = time.monotonic()
        os.kill(replay.pid, signal.SIGINT)
        assert replay.wait(_END_SECONDS) == Exit.INTERRUPTED
        assert left_over(started) == set()
        assert time.monotonic() - began < _END_SECONDS
        assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_postgres_is_made_is_no_failure_of_it(tmp_path: Path) -> None:
    folder = str(tmp_path / "court")
    with running("up", "--data-dir", folder, "--port", "0", tmp_path=tmp_path) as up:
        started = wait_for_part(up.pid, "initdb")
        os.killpg(up.pid, signal.SIGINT)  # A terminal tells all of the group.
        assert up.wait(_END_SECONDS) == Exit.OK
        assert up.stderr is not None
        assert b"initdb failed" not in up.stderr.read()
        assert left_over(started) == set()
