"""Leadership as a row: a holder, an epoch that grows with every take-over, an expiry.

The database's clock decides, never a host's. Whoever writes in the name of a lease names its
epoch and holds it for the transaction (`hold`); a leader that was paused past its expiry finds
another epoch and is fenced (users_ask C9, P5).

A leader that freezes, or whose cable is cut, in the middle of a transaction leaves its locks
behind. Whoever finds its lease expired ends its sessions first (decision 0017).
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

#: A name of Postgres has at most 63 bytes; this one and a UUID have 58.
_SESSIONS_OF = "contractcourt-watcher:"
#: How long to wait until a session that was told to end is gone.
EXPEL_MILLISECONDS = 500
#: No lease is longer (`CONTRACTCOURT_LEASE_SECONDS`). One that seems so is of a time before the
#: database's clock was set back.
LONGEST_SECONDS = 300.0

PREPARE = """
    INSERT INTO leases (name, holder, epoch, expires_at)
    VALUES (%(name)s, %(holder)s, 0, '-infinity')
    ON CONFLICT (name) DO NOTHING
"""
_IS_OVER = """
    (expires_at <= clock_timestamp()
     OR expires_at > clock_timestamp() + make_interval(secs => %(longest)s))
"""
#: The open transactions of a holder whose time is over: a living one would have renewed.
EXPEL = f"""
    SELECT pg_terminate_backend(a.pid, %(wait_milliseconds)s)
    FROM leases AS l JOIN pg_stat_activity AS a ON a.application_name = %(sessions_of)s || l.holder
    WHERE l.name = %(name)s AND l.holder <> %(holder)s AND {_IS_OVER}
      AND a.datname = current_database() AND a.usename = current_user
      AND a.state <> 'idle' AND a.pid <> pg_backend_pid()
"""
#: Skips a row that is locked: its holder is writing, so it leads.
ACQUIRE = f"""
    WITH free AS (
        SELECT name FROM leases
        WHERE name = %(name)s AND ({_IS_OVER} OR holder = %(holder)s)
        FOR UPDATE SKIP LOCKED
    )
    UPDATE leases AS l
    SET holder = %(holder)s, epoch = l.epoch + 1,
        expires_at = clock_timestamp() + make_interval(secs => %(ttl_seconds)s),
        taken_at = clock_timestamp()
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
    SELECT name, holder, epoch, expires_at, expires_at > clock_timestamp(), taken_at
    FROM leases WHERE name = %(name)s
"""
RECORD_FENCING = """
    INSERT INTO fencings (lease, holder, epoch) VALUES (%(name)s, %(holder)s, %(epoch)s)
    ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who leads, in which epoch, since when (`taken_at`).

    `live`: the expiry has not passed on the database's clock.
    """

    name: str
    holder: UUID
    epoch: int
    expires_at: datetime
    live: bool
    taken_at: datetime


def session_name(holder: UUID) -> str:
    """The application name of every session of this holder, by which `acquire` finds them."""
    return f"{_SESSIONS_OF}{holder}"


def acquire(conn: Connection, name: str, holder: UUID, ttl_seconds: float) -> int | None:
    """Take the lease if it is free or ours; the new epoch, or None. Never waits for a holder.

    `holder` is made anew by every process at its start: two processes never share a lease. What
    a former holder still has open is rolled back when its lease is over.
    """
    facts = {
        "name": name,
        "holder": holder,
        "ttl_seconds": ttl_seconds,
        "longest": max(ttl_seconds, LONGEST_SECONDS),
        "sessions_of": _SESSIONS_OF,
        "wait_milliseconds": EXPEL_MILLISECONDS,
    }
    conn.execute(PREPARE, facts)
    conn.execute(EXPEL, facts)
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


def record_fencing(conn: Connection, name: str, holder: UUID, epoch: int) -> None:
    """Keep it for the operator: this holder woke up after its epoch was over. Once an epoch."""
    conn.execute(RECORD_FENCING, {"name": name, "holder": holder, "epoch": epoch})
