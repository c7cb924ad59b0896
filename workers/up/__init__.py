"""`contractcourt up`: a whole court on one machine, and the supervisor over its processes.

May import all of `workers` except `cli`, and the rooms below. `plan` lists every process and
what each is told, `secrets` keeps the passwords and tokens of one data folder, `probes` ask
each part whether it is ready, `supervisor` starts, watches, restarts and stops, `endpoints`
tells others where the parts are, `summary` tells people. Begin with `plan`, then `court`,
which puts them together.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.settings import Settings


def run(data_dir: Path, settings: Settings, *, port: int | None = None) -> None:
    """Start a court, keep it, stop it; see `court.run`."""
    # Here and not above: the health checks import `probes` without the rest.
    from workers.up import court

    court.run(data_dir, settings, port=port)
