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


class Progress:
    """Looks now and then. Both alarms end by themselves.

    Args:
        no_block_seconds: so long after the last new block an alarm is raised.
        docket_seconds: so old the oldest unapplied event may be.
    """

    def __init__(self, db: Database, *, no_block_seconds: float, docket_seconds: float) -> None:
        self._db = db
        self._no_block_seconds = no_block_seconds
        self._docket_seconds = docket_seconds
        self._look_again_at = 0.0

    def step(self) -> None:
        """Look, unless that was done a moment ago."""
        if time.monotonic() >= self._look_again_at:
            self._look_again_at = time.monotonic() + _EVERY_SECONDS
            self._db.run(self._look)

    def _look(self, conn: Connection) -> None:
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
