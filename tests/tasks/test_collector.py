"""What the garbage collector of a worker passes over."""

from __future__ import annotations

import os
import subprocess
import sys

_WORKER_PROCESS = """
import gc
from celery.signals import worker_process_init
from tasks.app import app
app.loader.import_default_modules()
loaded = len(gc.get_objects())
worker_process_init.send(sender=None)
print(loaded, gc.get_freeze_count(), len(gc.get_objects()))
"""


def test_a_worker_process_never_walks_again_what_it_was_forked_with() -> None:
    settings = {**os.environ, "REDIS_URL": "redis://127.0.0.1:1/0"}
    command = [sys.executable, "-c", _WORKER_PROCESS]
    ran = subprocess.run(command, env=settings, check=True, capture_output=True, text=True)
    loaded, frozen, left = map(int, ran.stdout.split())
    assert loaded > 50_000
    assert frozen >= loaded
    assert left < loaded / 20
