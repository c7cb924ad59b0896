"""The pool belongs to one process, and a transaction to one use case."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from contextlib import ExitStack, closing

import psycopg
import pytest

from storage.database import Connection, Database
from storage.errors import ForkedPool
from storage.retries import is_retryable, with_retries


def in_a_fork(work: Callable[[], None]) -> int:
    """Run `work` in a forked child; its exit code, 0 when it went well."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def answer(db: Database) -> int:
    with db.transaction() as conn:
        row = conn.execute("SELECT 42").fetchone()
    assert row is not None
    return int(row[0])


def test_c11_pool_from_another_pid_raises(db: Database) -> None:
    assert answer(db) == 42

    def child() -> None:
        with pytest.raises(ForkedPool):
            answer(db)

    assert in_a_fork(child) == 0
    assert answer(db) == 42


def test_c11_a_pool_not_yet_opened_may_be_forked(db: Database) -> None:
    def child() -> None:
        assert answer(db) == 42

    assert in_a_fork(child) == 0
    assert answer(db) == 42


def test_c11_making_a_database_opens_no_socket() -> None:
    Database("postgresql://nobody@192.0.2.1:1/nowhere").close()


def test_an_error_rolls_back(db: Database) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero), db.transaction() as conn:
        conn.execute("CREATE TABLE half_done AS SELECT 1 / n FROM generate_series(1, 0, -1) AS n")
    with db.transaction() as conn:
        assert conn.execute("SELECT to_regclass('half_done')").fetchone() == (None,)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("transaction_isolation", "read committed"),
        ("lock_timeout", "5s"),
        ("statement_timeout", "30s"),
        ("idle_in_transaction_session_timeout", "15s"),
    ],
)
def test_p3_limits_hold_for_the_transaction_only(db: Database, setting: str, value: str) -> None:
    with db.transaction() as conn:
        conn.execute("SELECT 1")
        assert conn.execute(f"SHOW {setting}").fetchone() == (value,)
        prepared = conn.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
        assert prepared == (0,)
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        assert conn.execute(locks).fetchone() == (0,)


def test_who_looks_changes_nothing_and_reads_no_whole_table(db: Database) -> None:
    with db.looking() as conn:
        assert conn.execute("SHOW max_parallel_workers_per_gather").fetchone() == ("0",)
        assert conn.execute("SHOW jit").fetchone() == ("off",)
        for kind in ("seqscan", "hashjoin", "mergejoin", "bitmapscan"):
            assert conn.execute(f"SHOW enable_{kind}").fetchone() == ("off",)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), db.looking() as conn:
        conn.execute("DELETE FROM alarms")
    with db.transaction() as conn:
        conn.execute("DELETE FROM alarms")
        assert conn.execute("SHOW enable_hashjoin").fetchone() == ("on",)


def test_p6_killed_connections_are_tried_again(db: Database) -> None:
    """Every connection dies in the middle of the first attempt, as when Postgres restarts."""
    attempts: list[int] = []

    def work(conn: Connection) -> int:
        attempts.append(conn.info.backend_pid)
        if len(attempts) == 1:
            with psycopg.connect(db.url, autocommit=True) as other:
                other.execute(
                    """
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND pid <> pg_backend_pid()
                    """
                )
        row = conn.execute("SELECT 42").fetchone()
        assert row is not None
        return int(row[0])

    assert db.run(work) == 42
    assert len(set(attempts)) == 2


def test_p5_sessions_that_a_failover_left_on_the_old_primary_are_given_up(
    empty_database_url: str,
) -> None:
    """They live on and take no writes any more; a new one leads to the new primary."""
    with closing(Database(empty_database_url, max_size=4)) as db:
        with ExitStack() as all_of_them:
            for _ in range(4):
                conn = all_of_them.enter_context(db.transaction())
                conn.execute("SET default_transaction_read_only = on")
        db.run(lambda conn: conn.execute("CREATE TABLE written ()"))
        with db.transaction() as conn:
            conn.execute("INSERT INTO written DEFAULT VALUES")


_PASSING = ["40001", "40P01", "55P03", "57P01", "57P02", "57P03", "57P05", "08006"]
_OUT_OF_SOMETHING = ["53000", "53100", "53200", "53300", "53400"]
_NOT_HERE = ["25006", "25P03", "25P04"]


@pytest.mark.parametrize("state", _PASSING + _OUT_OF_SOMETHING + _NOT_HERE)
def test_p4_these_errors_are_tried_again(db: Database, state: str) -> None:
    attempts: list[str] = []

    def work(conn: Connection) -> str:
        attempts.append(state)
        if len(attempts) < 3:
            conn.execute(f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$")
        return "done"

    assert db.run(work) == "done"
    assert len(attempts) == 3


@pytest.mark.parametrize("state", ["23505", "23514", "42P01", "22001"])
def test_other_errors_are_not_tried_again(db: Database, state: str) -> None:
    attempts: list[str] = []

    def work(conn: Connection) -> None:
        attempts.append(state)
        conn.execute(f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$")

    with pytest.raises(psycopg.Error):
        db.run(work)
    assert len(attempts) == 1


def test_no_server_is_worth_another_try_and_an_end() -> None:
    attempts: list[BaseException] = []

    def connect() -> None:
        try:
            psycopg.connect("postgresql://nobody@127.0.0.1:1/nowhere")
        except psycopg.Error as error:
            attempts.append(error)
            raise

    with pytest.raises(psycopg.OperationalError) as raised:
        with_retries(connect, attempts=3)
    assert is_retryable(raised.value)
    assert len(attempts) == 3
    assert not is_retryable(ValueError())
