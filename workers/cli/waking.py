"""Telling the workers of what a command has committed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.environment import load_settings
from workers.cli.access import hand_on

if TYPE_CHECKING:
    from workers.gateway.wakeup import WakeUp


def wake_workers(data_dir: Path, wake_up: WakeUp) -> bool:
    """Whether they were told. Not being able to only delays: the request is committed (P5)."""
    from workers.gateway.wakeup import publish

    return _told(data_dir, lambda: publish([wake_up]))


def wake_for_letters(data_dir: Path, endpoint: str) -> bool:
    """Whether they were told to send what waits for this endpoint."""

    def deliver() -> bool:
        # Celery's app reads the environment, which is told first.
        from tasks import wakeups

        return wakeups.deliver([endpoint])

    return _told(data_dir, deliver)


def _told(data_dir: Path, tell: Callable[[], bool]) -> bool:
    import redis

    settings = load_settings(data_dir=data_dir)
    if settings.redis_url is None:
        return False
    hand_on(settings)
    try:
        return tell()
    except (redis.RedisError, OSError):
        return False
