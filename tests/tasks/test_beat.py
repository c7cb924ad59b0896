"""Beat goes by time that passes, whatever is made of its host's clock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
#: A beat of its own, whose wall clock is set back by three hours once it has nudged everybody.
_SET_BACK = """
import datetime
import time

right, wrong_by = datetime.datetime, datetime.timedelta()

class Clock(right):
    @classmethod
    def now(cls, tz=None):
        return right.now(tz) + wrong_by

datetime.datetime = Clock
from celery.beat import Scheduler
from tasks.app import app

nudged = []

class Beat(Scheduler):
    producer = None

    def apply_async(self, entry, **_):
        nudged.append(entry.name)

def go_on(beat, wanted):
    ends_at = time.monotonic() + 10
    while not wanted <= set(nudged) and time.monotonic() < ends_at:
        time.sleep(max(0.0, min(beat.tick(), 0.1)))
    print(sorted(wanted & set(nudged)))
    nudged.clear()

beat = Beat(app)
go_on(beat, {"reconcile", "rebroadcast"})
wrong_by = datetime.timedelta(hours=-3)
go_on(beat, {"reconcile", "rebroadcast"})
"""


def test_c16_a_clock_that_is_set_back_silences_no_beat() -> None:
    environment = {
        **os.environ,
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "CONTRACTCOURT_RECONCILE_SECONDS": "1",
        "CONTRACTCOURT_REBROADCAST_SECONDS": "2",
    }
    command = [sys.executable, "-c", _SET_BACK]
    said = subprocess.run(
        command, cwd=_ROOT, env=environment, check=True, capture_output=True, text=True
    )
    assert said.stdout.splitlines() == ["['rebroadcast', 'reconcile']"] * 2
