"""Waiting until another session waits."""

from __future__ import annotations

import time

from storage.database import Connection

BLOCKED = "SELECT 1 FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"


def wait_for_a_blocked_session(conn: Connection) -> None:
    """Until somebody waits for a lock that this session holds."""
    give_up_at = time.monotonic() + 60
    while conn.execute(BLOCKED).fetchone() is None:
        assert time.monotonic() < give_up_at, "nobody waits"
        time.sleep(0.01)
        # What this transaction has seen of the activity is kept until it is thrown away.
        conn.execute("SELECT pg_stat_clear_snapshot()")
