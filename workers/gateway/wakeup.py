"""What the workers are told after a commit, and who tells them without keeping anybody waiting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Condition, Thread

import structlog

from tasks import wakeups

_log = structlog.get_logger()
#: Beyond this many that wait, the rest is left to reconcile.
_MOST_WAITING = 100_000


@dataclass(frozen=True, slots=True)
class WakeUp:
    """What a commit left to do.

    `effects` are outbox rows as (id, kind), `channels` have docket entries to apply, `nodes`
    something new to sweep, and `publish_again` asks that what is broadcast and open be sent once
    more. `urgent_effects` are the ids of those rows that can't wait, `urgent_nodes` have something
    new to sweep that has a deadline.
    """

    effects: tuple[tuple[int, str], ...] = ()
    channels: tuple[int, ...] = ()
    nodes: tuple[str, ...] = ()
    publish_again: bool = False
    urgent_effects: frozenset[int] = frozenset()
    urgent_nodes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(
            self.effects or self.channels or self.nodes or self.publish_again or self.urgent_nodes
        )


Wake = Callable[[WakeUp], None]


def publish(wake_ups: Sequence[WakeUp]) -> bool:
    """Tell the workers; whether the broker took it all."""
    urgent = frozenset[int]().union(*(wake_up.urgent_effects for wake_up in wake_ups))
    told = [
        wakeups.sweep([n for wake_up in wake_ups for n in wake_up.urgent_nodes], urgent=True),
        wakeups.carry_out([effect for wake_up in wake_ups for effect in wake_up.effects], urgent),
        wakeups.wake([channel for wake_up in wake_ups for channel in wake_up.channels]),
        wakeups.sweep([node for wake_up in wake_ups for node in wake_up.nodes]),
    ]
    if any(wake_up.publish_again for wake_up in wake_ups):
        told.append(wakeups.new_block())
    return all(told)


class Waker:
    """Call it with wake-ups; `publish` gets them, many at once, on a thread of its own.

    While the broker is away they are dropped and logged: the reconcile task finds the same work
    in Postgres (users_ask C10).
    """

    def __init__(self, publish: Callable[[Sequence[WakeUp]], object] = publish) -> None:
        self._publish = publish
        self._waiting: list[WakeUp] = []
        self._changed = Condition()
        self._stopped = False
        self._thread = Thread(target=self._run, name="waker", daemon=True)
        self._thread.start()

    def __call__(self, wake_up: WakeUp) -> None:
        """Have this told soon. Never waits, never raises."""
        with self._changed:
            if wake_up and len(self._waiting) < _MOST_WAITING:
                self._waiting.append(wake_up)
                self._changed.notify()

    def close(self, wait_seconds: float = 2.0) -> None:
        """Tell what waits, if the broker takes it within `wait_seconds`, and end."""
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
                wake_ups, self._waiting = self._waiting, []
            try:
                self._publish(wake_ups)
            # Whatever the broker's client raises: the commit stands, and reconcile heals.
            except Exception as error:
                _log.warning("wake_ups_lost", count=len(wake_ups), error=type(error).__name__)
