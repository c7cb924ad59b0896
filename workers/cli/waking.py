"""Telling the workers of what a command has committed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.settings import load_settings
from workers.cli.access import hand_on

if TYPE_CHECKING:
    from workers.gateway.wakeup import WakeUp


def wake_workers(data_dir: Path, wake_up: WakeUp) -> bool:
    """Whether they were told. Not being able to only delays: the request is committed (P5)."""
    import redis

    from workers.gateway.wakeup import publish

    settings = load_settings(data_dir=data_dir)
    if settings.redis_url is None:
        return False
    hand_on(settings)
    try:
        return publish([wake_up])
    except (redis.RedisError, OSError):
        return False
