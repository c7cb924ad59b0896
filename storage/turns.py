"""What only one transaction at a time may do, where no row stands for it that could be locked."""

from __future__ import annotations

from storage.database import Connection

TAKE = "SELECT pg_advisory_xact_lock(hashtextextended(%(turn)s, 0))"
SHARE = "SELECT pg_advisory_xact_lock_shared(hashtextextended(%(turn)s, 0))"


def take(conn: Connection, turn: str) -> None:
    """Have it until the transaction ends; whoever has it before is waited for."""
    conn.execute(TAKE, {"turn": turn})


def share(conn: Connection, turn: str) -> None:
    """Have it with all who share it, and nobody takes it until the transaction ends."""
    conn.execute(SHARE, {"turn": turn})
