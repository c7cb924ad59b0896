"""`python -m workers.signer`: the signer as one process, told everything by the environment."""

from __future__ import annotations

from tasks.environment import load_settings
from tasks.logs import configure
from workers.signer.server import run

if __name__ == "__main__":
    settings = load_settings()
    configure("signer", level=settings.log_level, fmt=settings.log_format)
    run(settings)
