"""Where a figure was measured: without it a figure says nothing."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version


def machine() -> dict[str, str]:
    """Cores, Python and the versions that matter."""
    return {
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "contractcourt": version("contractcourt"),
        "coincurve": version("coincurve"),
        "msgspec": version("msgspec"),
    }
