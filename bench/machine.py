"""Where a figure was measured: without it a figure says nothing."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("contractcourt", "celery", "kombu", "redis", "psycopg", "coincurve", "msgspec")


def machine() -> dict[str, str]:
    """Cores, memory, Python and the versions that matter."""
    found = {
        "cores": str(os.cpu_count()),
        "processor": _first("/proc/cpuinfo", "model name"),
        "memory": _first("/proc/meminfo", "MemTotal"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    return found | {package: version(package) for package in _PACKAGES}


def _first(path: str, field: str) -> str:
    """A field of the kernel's own accounts; empty where it keeps none."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")
