"""The schema comes up once, whoever brings it up (users_ask P7)."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest

from storage.errors import InvalidIndexes, MigrationLocked, WrongEncoding
from storage.migrate import MIGRATION_LOCK, current_revision, head_revision, migrate
from tests.conftest import url_of

SCHEMA = """
    SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable
        || coalesce(' ' || column_default, '') || coalesce(' ' || generation_expression, '')
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT 'function ' || pg_get_functiondef(oid)
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    ORDER BY 1
"""
MIGRATE = "import sys; from storage.migrate import migrate; migrate(sys.argv[1])"


def schema_of(url: str) -> list[str]:
    with psycopg.connect(url) as conn:
        return [row[0] for row in conn.execute(SCHEMA)]


def test_migrating_twice_applies_once(empty_database_url: str) -> None:
    assert current_revision(empty_database_url) is None
    applied = migrate(empty_database_url)
    assert applied == sorted(applied)
    assert applied[0] == "0001"
    assert applied[-1] == head_revision()
    assert migrate(empty_database_url) == []
    assert current_revision(empty_database_url) == head_revision()


def test_a_database_that_is_not_of_utf8_is_refused_in_words(postgres_url: str) -> None:
    """As `initdb` makes it where no locale is set."""
    name = f"bytes_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as operator:
        operator.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"
        )
        with pytest.raises(WrongEncoding, match=r"SQL_ASCII.*ENCODING 'UTF8'"):
            migrate(url_of(postgres_url, name))
        operator.execute(f"DROP DATABASE {name}")


def test_p7_five_migrators_at_once_and_one_killed_make_one_schema(
    empty_database_url: str, database_url: str
) -> None:
    """The killed one holds the lock and has made half of the tables when it dies."""
    with closing(psycopg.connect(empty_database_url)) as first:
        first.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
        first.execute("CREATE TABLE nodes (half_made text)")
        command = [sys.executable, "-c", MIGRATE, empty_database_url]
        others = [subprocess.Popen(command) for _ in range(2)]
        with ThreadPoolExecutor(2) as pool:
            runs = [pool.submit(migrate, empty_database_url) for _ in range(2)]
            wait_for_sessions(empty_database_url, 5)
            with psycopg.connect(empty_database_url, autocommit=True) as operator:
                operator.execute("SELECT pg_terminate_backend(%s)", (first.info.backend_pid,))
            applied = [run.result() for run in runs]
        assert [other.wait() for other in others] == [0, 0]
    assert sum(1 for run in applied if run) <= 1
    assert schema_of(empty_database_url) == schema_of(database_url)
    assert migrate(empty_database_url) == []


def test_p7_a_migrator_that_waits_too_long_says_so(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
        with pytest.raises(MigrationLocked):
            migrate(empty_database_url, wait_seconds=0.2)
    assert current_revision(empty_database_url) is None


def test_p7_an_invalid_index_is_named(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("CREATE TABLE doubled (n integer)")
        conn.execute("INSERT INTO doubled VALUES (1), (1)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            conn.execute("CREATE UNIQUE INDEX CONCURRENTLY doubled_n ON doubled (n)")
    with pytest.raises(InvalidIndexes, match="doubled_n"):
        migrate(database_url)


def wait_for_sessions(url: str, count: int) -> None:
    """Until so many sessions are at work in this database, the asking one left out."""
    query = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
    """
    give_up_at = time.monotonic() + 60
    with psycopg.connect(url, autocommit=True) as conn:
        while conn.execute(query).fetchall()[0][0] < count:
            assert time.monotonic() < give_up_at
            time.sleep(0.02)
