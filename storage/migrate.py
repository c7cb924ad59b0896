"""Brings the schema up, and what each role may do in it (`storage.roles`).

Alembic by its API, one transaction, one migrator at a time (P7).

The lock is a transaction's, polled and bounded: a migrator that dies gives it back with its
transaction, and its half-made tables with it. A pooler in transaction mode may stand between.

The fleet works on meanwhile. A change of a table must wait for whoever uses it, and whoever comes
later waits behind that: so it is waited for only a moment, then everything is let go and tried
again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.pool import NullPool

from storage import roles
from storage.database import Connection
from storage.errors import InvalidIndexes, MigrationLocked, OldPostgres, WrongEncoding

#: NULLS NOT DISTINCT, in the indexes of alarms.
OLDEST_POSTGRES = 15
#: Any number, as long as every migrator of every version uses the same.
MIGRATION_LOCK = 0x636F757274

TRY_LOCK = "SELECT pg_try_advisory_xact_lock(%(key)s)"
MIGRATION_LIMITS = "SET LOCAL lock_timeout = '1s'; SET LOCAL statement_timeout = '15min'"
#: For the others, after a table could not be had.
_LET_THROUGH_SECONDS = 0.5
MAKE_ROOM = "SELECT make_docket_part((clock_timestamp() AT TIME ZONE 'UTC')::date)"
INVALID_INDEXES = """
    SELECT c.relname
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    WHERE c.relnamespace = current_schema()::regnamespace
      AND NOT (i.indisvalid AND i.indisready)
    ORDER BY c.relname
"""


def migrate(url: str, *, wait_seconds: float = 60.0) -> list[str]:
    """Apply every revision that is missing, and name those applied, in order.

    Raises:
        MigrationLocked: another migrator was still at work after `wait_seconds`, or a table in
            use.
        InvalidIndexes: an index of the schema is marked invalid.
        OldPostgres, WrongEncoding: the schema can't stand in this database.
        psycopg.Error: Postgres could not be reached or refused.
    """
    give_up_at = time.monotonic() + wait_seconds
    while True:
        try:
            return _migrate_once(url, wait_seconds)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as busy:
            if time.monotonic() >= give_up_at:
                raise MigrationLocked(
                    f"a table was in use whenever it was asked for, for {wait_seconds:.0f} s: "
                    "nothing is changed; try again, or end the long transaction "
                    "(pg_stat_activity names it)"
                ) from busy
        time.sleep(_LET_THROUGH_SECONDS)


def _migrate_once(url: str, wait_seconds: float) -> list[str]:
    with _plain_errors(), _engine(url).begin() as connection:
        connection.exec_driver_sql(MIGRATION_LIMITS)
        _wait_for_lock(connection, wait_seconds)
        applied = apply(connection)
        # A court that stood still for long has no room on its docket for what comes now.
        connection.exec_driver_sql(MAKE_ROOM)
        roles.establish(_psycopg(connection))
        invalid = [row[0] for row in connection.exec_driver_sql(INVALID_INDEXES)]
        if invalid:
            raise InvalidIndexes(f"invalid indexes: {', '.join(invalid)}; drop and rebuild them")
    return applied


def apply(connection: sqlalchemy.Connection, revision: str = "head") -> list[str]:
    """Apply the revisions that are missing up to this one, in the transaction of the caller."""
    applied: list[str] = []

    def note(*, step: Any, **_: Any) -> None:
        applied.append(step.up_revision_id)

    config = _config()
    config.attributes["connection"] = connection
    config.attributes["on_version_apply"] = note
    if is_behind(MigrationContext.configure(connection).get_current_revision()):
        command.upgrade(config, revision)
    return applied


def current_revision(url: str) -> str | None:
    """The revision the database is at; None before the first migration.

    Raises OldPostgres and WrongEncoding.
    """
    with _plain_errors(), _engine(url).connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head_revision() -> str:
    """The newest revision this code knows."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def is_behind(revision: str | None) -> bool:
    """Whether this code needs a later schema than that.

    Revisions are numbered in order and only add, so a schema that is ahead serves this code too:
    while a fleet is upgraded the version before works on beside the new one.
    """
    return revision is None or revision < head_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Postgres's own errors: that a library wraps them on the way is nobody else's business."""
    try:
        yield
    except sqlalchemy.exc.DBAPIError as error:
        if error.orig is None:
            raise
        raise error.orig from error


def _engine(url: str) -> sqlalchemy.Engine:
    """psycopg reads the URL itself, so that unix sockets and all libpq options work."""
    return sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: _connect(url),
        poolclass=NullPool,
    )


def _connect(url: str) -> Connection:
    conn = psycopg.connect(url, application_name="contractcourt-migrate", prepare_threshold=None)
    version = conn.info.server_version // 10_000
    if version < OLDEST_POSTGRES:
        conn.close()
        raise OldPostgres(f"Postgres {version} is too old: use {OLDEST_POSTGRES} or later")
    encoding = conn.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        conn.close()
        raise WrongEncoding(
            f"the database is encoded in {encoding}: make one with "
            "CREATE DATABASE ... TEMPLATE template0 ENCODING 'UTF8', and name it in DATABASE_URL"
        )
    return conn


def _psycopg(connection: sqlalchemy.Connection) -> Connection:
    driver: Connection | None = connection.connection.driver_connection
    assert driver is not None
    return driver


def _wait_for_lock(connection: sqlalchemy.Connection, wait_seconds: float) -> None:
    give_up_at = time.monotonic() + wait_seconds
    while not connection.exec_driver_sql(TRY_LOCK, {"key": MIGRATION_LOCK}).scalar_one():
        if time.monotonic() >= give_up_at:
            raise MigrationLocked(
                f"another migrator held the lock for {wait_seconds:.0f} s; try again later"
            )
        time.sleep(0.1)
