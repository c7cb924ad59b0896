"""Making way: whether something urgent waits that a long piece of work should let pass.

A round of urgent sweeps may take many seconds when thousands of channels close. Between two
batches it asks here, and goes back to the end of its queue if a breach or an expiring HTLC waits to
be looked at (users_ask C7).
"""

from __future__ import annotations

import time

import redis

from tasks import backlog
from tasks.wakeups import URGENT_QUEUE

_ANSWER_SECONDS = 1.0
#: A broker that is away has nothing to hand out either.
_ASK_AGAIN_AFTER_SECONDS = 10.0


class Way:
    """Asks the broker at `redis_url`, which is connected to at the first question."""

    def __init__(self, redis_url: str) -> None:
        self._broker = backlog.ask(redis_url, _ANSWER_SECONDS)
        self._ask_again_at = float("-inf")

    def is_wanted(self) -> bool:
        """Whether urgent work waits for a worker. Never when the broker does not say."""
        if time.monotonic() < self._ask_again_at:
            return False
        try:
            return bool(self._broker.exists(URGENT_QUEUE))
        except redis.RedisError:
            self._ask_again_at = time.monotonic() + _ASK_AGAIN_AFTER_SECONDS
            return False

    def close(self) -> None:
        """Let go of the connection."""
        self._broker.close()
