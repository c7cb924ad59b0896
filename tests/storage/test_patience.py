"""A server that falls silent with every connection open is given up, and found again (C5)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import timedelta

import psycopg
import pytest

from storage.database import CONNECTION_LIMITS, RECONNECT_SECONDS, Connection, Database
from storage.patience import ANSWER_SECONDS, ServerSilent
from storage.retries import is_retryable
from tests.proxy import Proxy, proxy_before

_ANSWER_SECONDS = 1.0
_RESUMED_SECONDS = 60


@pytest.fixture
def wall(database_url: str) -> Iterator[Proxy]:
    """Something before Postgres that can forget connections, and acknowledges all the same."""
    with proxy_before(database_url) as proxy:
        yield proxy


@pytest.fixture
def behind(wall: Proxy, database_url: str) -> Iterator[Database]:
    with closing(Database(wall.in_url(database_url), answer_seconds=_ANSWER_SECONDS)) as db:
        yield db


def answer(conn: Connection) -> int:
    [(number,)] = conn.execute("SELECT 42").fetchall()
    return int(number)


def test_c5_work_goes_on_by_a_new_connection(wall: Proxy, behind: Database) -> None:
    """Also when it falls silent in the middle of a transaction, with others idle in the pool."""
    with ExitStack() as stack:
        for _ in range(4):
            answer(stack.enter_context(behind.transaction()))
    silenced: list[int] = []

    def work(conn: Connection) -> int:
        if not silenced:
            silenced.append(wall.accepted)
            wall.forget()
        return answer(conn)

    assert behind.run(work) == 42
    assert wall.accepted > silenced[0]
    with ExitStack() as stack:
        held = [stack.enter_context(behind.transaction()) for _ in range(4)]
        assert [answer(conn) for conn in held] == [42] * 4


def test_c5_a_commit_that_nobody_answers_is_an_error(wall: Proxy, behind: Database) -> None:
    def ask() -> None:
        with behind.transaction() as conn:
            assert answer(conn) == 42
            wall.forget()

    with pytest.raises(ServerSilent) as caught:
        ask()
    assert is_retryable(caught.value)
    with behind.transaction() as conn:
        assert answer(conn) == 42


def test_c5_a_server_that_comes_back_is_found_in_time() -> None:
    """A sum of what is waited for at most: an answer, then a pause, then a connection."""
    connecting = CONNECTION_LIMITS["connect_timeout"]
    assert ANSWER_SECONDS + RECONNECT_SECONDS + connecting <= _RESUMED_SECONDS


def test_c5_a_server_that_works_for_long_is_not_taken_for_silent(
    behind: Database, db: Database
) -> None:
    """Postgres ends a statement before anybody loses patience; its own words are passed on."""
    with db.transaction() as conn:
        [(limit,)] = conn.execute(
            "SELECT current_setting('statement_timeout')::interval"
        ).fetchall()
    assert limit < timedelta(seconds=ANSWER_SECONDS)
    with behind.transaction() as conn:
        conn.execute("SET LOCAL statement_timeout = '200ms'")
        with pytest.raises(psycopg.errors.QueryCanceled), conn.transaction():
            conn.execute("SELECT pg_sleep(60)")
        assert answer(conn) == 42
    with behind.transaction() as conn:
        assert answer(conn) == 42
