"""Which process shall die at which step, and which have: the tests' side of `hook`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tasks.crash_points import CrashPoint

_HOOK = Path(__file__).parent / "hook"


class Arms:
    """One folder of orders, shared with the processes that were started with `environment`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("hits", "armed", "died"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process watch its steps."""
        return {"PYTHONPATH": str(_HOOK), "FAULTS_DIR": str(self._folder)}

    def arm(self, points: Iterable[CrashPoint], role: str, *, whole_worker: bool = False) -> None:
        """The next process of this role to reach each of these dies there, once.

        `whole_worker`: a Celery child takes its parent, and so all its siblings, along.
        """
        order = json.dumps({"role": role, "whole_worker": whole_worker})
        for point in points:
            draft = self._folder / f"{point.value}.draft"
            draft.write_text(order)
            draft.rename(self._folder / "armed" / point.value)

    def still_armed(self) -> set[CrashPoint]:
        """Steps at which nobody has died yet."""
        return {CrashPoint(path.name) for path in (self._folder / "armed").iterdir()}

    def died(self) -> set[CrashPoint]:
        """Steps at which a process has died."""
        return {CrashPoint(path.name) for path in (self._folder / "died").iterdir()}

    def hits(self) -> dict[CrashPoint, int]:
        """How often each step was taken."""
        return {
            CrashPoint(path.name): path.stat().st_size for path in (self._folder / "hits").iterdir()
        }

    def disarm(self) -> None:
        """Nobody dies any more; what has happened is forgotten."""
        for name in ("armed", "died", "hits"):
            for path in (self._folder / name).iterdir():
                path.unlink(missing_ok=True)
