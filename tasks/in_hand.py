"""A task in a worker's hand, whose broker may be lost meanwhile.

What it came by is closed then, and can be told nothing more: Celery would try all the same, and end
the whole worker over it. The broker gives the message to another one in its time; what it stood for
is done, or found by `reconcile`.
"""

from __future__ import annotations

from celery.worker.request import Request


class TaskInHand(Request):  # type: ignore[misc]
    """Celery's own request, but for a channel that is closed."""

    def acknowledge(self) -> None:
        """It is done."""
        if self._is_lost():
            self.acknowledged = True
        else:
            super().acknowledge()

    def reject(self, requeue: bool = False) -> None:
        """It is not done; `requeue` has the broker give it to another one."""
        if self._is_lost():
            self.acknowledged = True
        else:
            super().reject(requeue=requeue)

    def _is_lost(self) -> bool:
        return bool(self._message.channel.closed)
