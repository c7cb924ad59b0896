"""Leadership as a row: a holder, an epoch that grows with every take-over, an expiry.

The database's clock decides, never a host's. Whoever writes in the name of a lease names its
epoch and holds it for the transaction (`hold`); a leader that was paused past its expiry finds
another epoch and is fenced (users_ask C9, P5).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import args_row

from storage.database import Connection
from storage.errors import Fenced

#: The lease of the chain watcher; its epoch fences the chain cursor.
CHAIN_WATCHER = "chain_watcher"

PREPARE = """
    INSERT INTO leases (name, holder, epoch, expires_at)
    VALUES (%(name)s, %(holder)s, 0, '-infinity')
    ON CONFLICT (name) DO NOTHING
"""
#: Skips a row that is locked: its holder is writing, so it leads.
ACQUIRE = """
    WITH free AS (
        SELECT name FROM leases
        WHERE name = %(name)s
          AND (expires_at <= clock_timestamp() OR holder = %(holder)s)
        FOR UPDATE SKIP LOCKED
    )
    UPDATE leases AS l
    SET holder = %(holder)s, epoch = l.epoch + 1,
        expires_at = clock_timestamp() + make_interval(secs => %(ttl_seconds)s)
    FROM free
    WHERE l.name = free.name
    RETURNING l.epoch
"""
RENEW = """
    UPDATE leases
    SET expires_at = clock_timestamp() + make_interval(secs => %(ttl_seconds)s)
    WHERE name = %(name)s AND holder = %(holder)s AND epoch = %(epoch)s
"""
RELEASE = """
    UPDATE leases SET expires_at = clock_timestamp()
    WHERE name = %(name)s AND holder = %(holder)s AND epoch = %(epoch)s
"""
#: Lets a renewal pass and stops a take-over: only that one changes a key of the row.
HOLD = "SELECT 1 FROM leases WHERE name = %(name)s AND epoch = %(epoch)s FOR KEY SHARE"
READ = """
    SELECT name, holder, epoch, expires_at, expires_at > clock_timestamp()
    FROM leases WHERE name = %(name)s
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who leads, in which epoch. `live`: the expiry has not passed on the database's clock."""

    name: str
    holder: UUID
    epoch: int
    expires_at: datetime
    live: bool


def acquire(conn: Connection, name: str, holder: UUID, ttl_seconds: float) -> int | None:
    """Take the lease if it is free or ours; the new epoch, or None. Never waits.

    `holder` is made anew by every process at its start: two processes never share a lease.
    """
    conn.execute(PREPARE, {"name": name, "holder": holder})
    facts = {"name": name, "holder": holder, "ttl_seconds": ttl_seconds}
    row = conn.execute(ACQUIRE, facts).fetchone()
    return None if row is None else int(row[0])


def renew(conn: Connection, name: str, holder: UUID, epoch: int, ttl_seconds: float) -> bool:
    """Hold the lease for longer; False when somebody else took it."""
    facts = {"name": name, "holder": holder, "epoch": epoch, "ttl_seconds": ttl_seconds}
    return conn.execute(RENEW, facts).rowcount == 1


def release(conn: Connection, name: str, holder: UUID, epoch: int) -> None:
    """Let the next one take over at once."""
    conn.execute(RELEASE, {"name": name, "holder": holder, "epoch": epoch})


def hold(conn: Connection, name: str, epoch: int) -> None:
    """Make this transaction's writes those of `epoch`: no take-over until it ends.

    Raises:
        Fenced: the lease has another epoch; write nothing.
    """
    if conn.execute(HOLD, {"name": name, "epoch": epoch}).fetchone() is None:
        raise Fenced(f"epoch {epoch} of lease {name} is over")


def read(conn: Connection, name: str) -> Lease | None:
    """The lease as it stands; None if nobody ever held it."""
    with conn.cursor(row_factory=args_row(Lease)) as cursor:
        return cursor.execute(READ, {"name": name}).fetchone()
