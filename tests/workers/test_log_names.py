"""Every line of a process says which one it is, whoever configures the logs behind it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("process", ["beat", "worker"])
def test_a_process_of_celery_writes_its_own_name(
    redis_url: str, database_url: str, tmp_path: Path, process: str
) -> None:
    """Beat called itself a worker."""
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "CONTRACTCOURT_DATA_DIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "workers.cli", process]
    started = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert started.stdout is not None
        line = next(line for line in started.stdout if line.startswith("{"))
    finally:
        started.kill()
        started.communicate()
    assert json.loads(line)["process"] == process
