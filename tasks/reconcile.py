"""`contractcourt.reconcile`: finds in Postgres whatever Redis forgot, and says it again."""

from __future__ import annotations

import structlog

from storage import docket, outbox
from tasks import wakeups
from tasks.app import app
from tasks.resources import Resources, resources

_log = structlog.get_logger()

#: At most this much is woken at once, whatever the backlog (users_ask C17).
LIMIT = 1_000
#: Younger rows have a wake-up of their own on its way.
_OLDER_THAN_SECONDS = 1.0


@app.task(name="contractcourt.reconcile")
def reconcile_task(idempotency_key: str = "") -> None:
    """Wake channels with unapplied entries, and carry out outbox rows that nobody took."""
    del idempotency_key
    reconcile(resources())


def reconcile(held: Resources) -> tuple[int, int]:
    """(channels woken, outbox rows handed on)."""
    waiting = held.db.run(lambda conn: docket.unapplied_channels(conn, _OLDER_THAN_SECONDS, LIMIT))
    if waiting:
        wakeups.wake(waiting)
    unsent = held.db.run(lambda conn: outbox.stale(conn, _OLDER_THAN_SECONDS, LIMIT))
    if unsent:
        wakeups.carry_out(unsent)
    if waiting or unsent:
        _log.info("reconciled", channels=len(waiting), outbox=len(unsent))
    return len(waiting), len(unsent)
