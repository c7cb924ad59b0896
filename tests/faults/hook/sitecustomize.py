"""Loaded by every Python process whose PYTHONPATH the tests point here: dies where it is told to.

Each step that the process takes is noted in FAULTS_DIR/hits. A step that stands in
FAULTS_DIR/armed for this kind of process is its last: Redis forgets everything, so that nothing
but Postgres knows what was under way, and the process gets SIGKILL.
"""

from __future__ import annotations

import datetime
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Self

from tasks import crash_points
from tasks.crash_points import CrashPoint

_FOLDER = Path(os.environ["FAULTS_DIR"])
#: `python -m workers.cli worker ...`
_ROLE = sys.orig_argv[3] if len(sys.orig_argv) > 3 else ""


def _meet(point: CrashPoint) -> None:
    with (_FOLDER / "hits" / point.value).open("ab", buffering=0) as hits:
        hits.write(b".")
    armed = _FOLDER / "armed" / point.value
    try:
        order = json.loads(armed.read_bytes())
    except FileNotFoundError:
        return
    if order["role"] == _ROLE and _is_ours(armed, point):
        _die(whole_worker=order["whole_worker"])


def _is_ours(armed: Path, point: CrashPoint) -> bool:
    """One process alone takes an order."""
    try:
        armed.rename(_FOLDER / "died" / point.value)
    except FileNotFoundError:
        return False
    return True


def _die(*, whole_worker: bool) -> None:
    import redis

    with redis.Redis.from_url(os.environ["REDIS_URL"]) as broker:
        broker.flushall()
    parent = os.getppid()
    # An orphan's new parent is none of ours.
    if whole_worker and b"workers.cli" in Path(f"/proc/{parent}/cmdline").read_bytes():
        os.kill(parent, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _set_clock_wrong(seconds: float) -> None:
    """The wall clock of this process is off by so much."""
    right_time, off = time.time, datetime.timedelta(seconds=seconds)

    class Wrong(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Self:
            return super().now(tz) + off

        @classmethod
        def utcnow(cls) -> Self:
            return super().utcnow() + off

    time.time = lambda: right_time() + seconds
    vars(datetime)["datetime"] = Wrong


if _ROLE == "beat" and "FAULTS_BEAT_CLOCK" in os.environ:
    _set_clock_wrong(float(os.environ["FAULTS_BEAT_CLOCK"]))
crash_points.watch(_meet)
