"""Renews the watcher's lease beside its work.

So the lease can be short, and a dead leader is replaced soon, while one block may take as long as
it takes. A frozen process has no heartbeat either, and a cut cable stops it.
"""

from __future__ import annotations

import threading
from typing import Self

import psycopg
import structlog

from workers.watcher.leadership import Leadership

_log = structlog.get_logger()


class Heartbeat:
    """A thread for the length of a `with`; it ends with the process in any case."""

    def __init__(self, leadership: Leadership) -> None:
        self._leadership = leadership
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def _beat(self) -> None:
        while not self._over.wait(self._leadership.rhythm_seconds):
            try:
                self._leadership.beat()
            except psycopg.Error as error:
                # The lease may end by it, as it should: whoever still reaches Postgres leads.
                _log.debug("the lease was not renewed", error=str(error))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        # So that no renewal follows when the lease is given back; one that hangs is not waited for.
        self._thread.join(self._leadership.rhythm_seconds)
