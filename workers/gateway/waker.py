"""Wakes the workers after a commit, without ever keeping an answer waiting.

One thread publishes; while the broker is away the wake-ups are dropped and logged, because the
reconcile task finds the same work in Postgres (users_ask C10).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Condition, Thread

from tasks.logs import get_logger

_log = get_logger(__name__)
#: More than this many waiting effects are left to reconcile.
_MOST_WAITING = 100_000

#: (outbox id, kind) of an effect that waits to be carried out.
Waiting = tuple[int, str]


class Waker:
    """Call it with effects; `publish` gets them, many at once, on a thread of its own."""

    def __init__(self, publish: Callable[[Sequence[Waiting]], None]) -> None:
        self._publish = publish
        self._waiting: list[Waiting] = []
        self._changed = Condition()
        self._stopped = False
        self._thread = Thread(target=self._run, name="waker", daemon=True)
        self._thread.start()

    def __call__(self, effects: Sequence[Waiting]) -> None:
        """Have these carried out soon. Never waits, never raises."""
        with self._changed:
            if len(self._waiting) < _MOST_WAITING:
                self._waiting.extend(effects)
            self._changed.notify()

    def close(self, wait_seconds: float = 2.0) -> None:
        """Publish what waits, if the broker takes it within `wait_seconds`, and end."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join(wait_seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopped)
                if not self._waiting:
                    return
                effects, self._waiting = self._waiting, []
            try:
                self._publish(effects)
            # Whatever the broker's client raises: the commit stands, and reconcile heals.
            except Exception as error:
                _log.warning("wake_up_lost", effects=len(effects), error=type(error).__name__)
