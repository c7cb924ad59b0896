"""Is there progress? The leading watcher judges the court by it, and not by who answers a ping.

A worker that has lost its broker without noticing is alive and does nothing (users_ask C5); a node
that has lost its peers is at its tip for ever (users_ask B10).
"""

from __future__ import annotations

import time

from contractcourt.alarms import AlarmKind
from storage import alarms, blocks, docket
from storage.database import Connection, Database

_EVERY_SECONDS = 5.0
#: A node that is restarted is back sooner.
_NOT_FOLLOWED_SECONDS = 300.0


class NotFollowed:
    """Since when the Bitcoin node can't be followed, and why not."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._why = ""

    def because(self, why: str) -> None:
        """It can't be, as it stands."""
        self._since = time.monotonic() if self._since is None else self._since
        self._why = why

    def is_over(self) -> None:
        """It can be."""
        self._since = None

    def long_since(self) -> str:
        """Why, if that has been so for long; else nothing."""
        over = self._since is None or time.monotonic() - self._since < _NOT_FOLLOWED_SECONDS
        return "" if over else self._why


class Progress:
    """Looks now and then. All its alarms end by themselves.

    Args:
        no_block_seconds: so long after the last new block an alarm is raised.
        docket_seconds: so old the oldest unapplied event may be.
    """

    def __init__(self, db: Database, *, no_block_seconds: float, docket_seconds: float) -> None:
        self._db = db
        self._no_block_seconds = no_block_seconds
        self._docket_seconds = docket_seconds
        self._look_again_at = 0.0

    def step(self, not_followed: str = "") -> None:
        """Look, unless that was done a moment ago; `not_followed`: why the node is not."""
        if time.monotonic() >= self._look_again_at:
            self._look_again_at = time.monotonic() + _EVERY_SECONDS
            self._db.run(lambda conn: self._look(conn, not_followed))

    def _look(self, conn: Connection, not_followed: str) -> None:
        kind = AlarmKind.NODE_NOT_FOLLOWED
        _say(conn, kind, not_followed, is_so=bool(not_followed))
        standing = blocks.seconds_standing(conn)
        _say(
            conn,
            AlarmKind.NO_NEW_BLOCK,
            f"no new block for {standing / 60:.0f} minutes: has the node lost its peers?",
            is_so=standing > self._no_block_seconds,
        )
        count, age = docket.backlog(conn)
        _say(
            conn,
            AlarmKind.DOCKET_STALLED,
            f"{count} events wait to be applied, the oldest for {age:.0f} s: do workers consume?",
            is_so=age > self._docket_seconds,
        )


def _say(conn: Connection, kind: AlarmKind, words: str, *, is_so: bool) -> None:
    if is_so:
        alarms.keep_raised(conn, None, kind, words)
    else:
        alarms.clear_kind(conn, None, kind)
