"""How much waits in Redis: wake-ups in the queues, and those that a worker has in hand."""

from __future__ import annotations

from dataclasses import dataclass

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

#: Where kombu keeps what was handed out and not yet acknowledged.
_IN_HAND = "unacked"
_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Backlog:
    """Messages by queue, and messages in the hands of workers."""

    queues: dict[str, int]
    in_hand: int


def ask(redis_url: str, seconds: float) -> redis.Redis:
    """A client for questions, each asked once and given up after so many seconds."""
    return redis.Redis.from_url(
        redis_url,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), 0),
    )


def measure(redis_url: str) -> Backlog:
    """Ask the broker. Raises redis.RedisError when it does not answer within two seconds."""
    # Celery's configuration asks the settings, and so must not be read before it is needed.
    from tasks.celery_config import task_queues

    names = [queue.name for queue in task_queues]
    with ask(redis_url, _SECONDS) as client:
        asked = client.pipeline(transaction=False)
        for name in names:
            asked.llen(name)
        asked.hlen(_IN_HAND)
        *lengths, in_hand = asked.execute()
    return Backlog(dict(zip(names, lengths, strict=True)), in_hand)
