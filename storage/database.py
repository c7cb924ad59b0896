"""One pool of Postgres connections for one process, and the transactions drawn from it.

No state is kept in a session: settings are SET LOCAL, statements are not prepared on the server,
and there are no session locks and no LISTEN. A pooler in transaction mode may stand in between
(users_ask P3).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock, Timer
from typing import TypeVar

import psycopg
from psycopg.abc import Query
from psycopg.rows import TupleRow
from psycopg.types.array import ListBinaryDumper
from psycopg_pool import ConnectionPool

from storage.errors import ForkedPool
from storage.patience import ANSWER_SECONDS, PatientConnection, ServerSilent
from storage.retries import with_retries

T = TypeVar("T")
Connection = psycopg.Connection[TupleRow]

#: A host that vanished without a word is noticed within half a minute (seconds, milliseconds).
CONNECTION_LIMITS = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
#: The pool doubles its pauses for so long, then begins anew; by its own five minutes it would sleep
#: for two of them when Postgres comes back.
RECONNECT_SECONDS = 10.0
#: In one round trip, for most transactions are a statement or two. Every look is by a key. A bitmap
#: scan would read all versions of a row that a long transaction keeps, to find the newest of them;
#: an index, read backwards, meets that one first (docs/decisions/0029-newest-version-first.md).
BEGIN = """
    BEGIN ISOLATION LEVEL READ COMMITTED;
    SET LOCAL lock_timeout = '5s';
    SET LOCAL statement_timeout = '30s';
    SET LOCAL idle_in_transaction_session_timeout = '15s';
    SET LOCAL enable_bitmapscan = off
"""
#: For what shows a part of a large court. Postgres prices all of a table against some rows of it by
#: averages, and of a million channels it would read each one to find the ten of a small node, or
#: of a rare state. Row by row a statement costs what it shows (docs/decisions/0036-row-by-row.md).
#: Before version 18 what is off is priced at ten thousand millions, for which it would be compiled.
ROW_BY_ROW = """
    SET LOCAL enable_seqscan = off;
    SET LOCAL enable_hashjoin = off;
    SET LOCAL enable_mergejoin = off;
    SET LOCAL max_parallel_workers_per_gather = 0;
    SET LOCAL jit = off
"""
_BEGIN_TO_LOOK = f"{BEGIN};{ROW_BY_ROW}; SET LOCAL transaction_read_only = on"


class Database:
    """Postgres at `url` (TCP or unix socket), for the process that first uses it.

    The pool opens at the first transaction, so importing or forking opens no socket. A server that
    says nothing for `answer_seconds` is taken for gone.
    """

    def __init__(
        self,
        url: str,
        *,
        min_size: int = 1,
        max_size: int = 4,
        application_name: str = "contractcourt",
        wait_seconds: float = 10.0,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.url = url
        self._min_size = min_size
        self._max_size = max_size
        self._application_name = application_name
        self._wait_seconds = wait_seconds
        self._answer_seconds = answer_seconds
        self._pool: ConnectionPool[PatientConnection] | None = None
        self._owner_pid: int | None = None
        self._opening = Lock()

    def looking(self) -> AbstractContextManager[Connection]:
        """A `transaction` that changes nothing and whose statements go row by row, by indexes."""
        return self._transaction(_BEGIN_TO_LOOK)

    def transaction(self) -> AbstractContextManager[Connection]:
        """One READ COMMITTED transaction: committed at the end, rolled back on an exception.

        A lock is waited for 5 s, a statement may take 30 s, and a client that says nothing for 15 s
        (its host is cut off) loses the transaction with its locks.

        Raises:
            ForkedPool: the pool was opened by another process.
            psycopg.Error: whatever Postgres says; `storage.retries.is_retryable` knows which
                of these are worth another try.
        """
        return self._transaction(BEGIN)

    @contextmanager
    def _transaction(self, begin: Query) -> Iterator[Connection]:
        pool = self._opened_pool()
        try:
            with pool.connection() as connection:
                connection.execute(begin)
                yield connection
                connection.commit()
        except (ServerSilent, psycopg.errors.ReadOnlySqlTransaction):
            # To ask the others would only mean to wait for each of them as well. And after a
            # failover all may lead to the old primary, which answers and takes no writes any more.
            pool.drain()
            raise
        except psycopg.OperationalError as error:
            # One broken connection means the others may be broken too: Postgres restarted.
            if not isinstance(
                error, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable
            ):
                pool.check()
            raise

    def run(self, work: Callable[[Connection], T]) -> T:
        """`work` in a transaction of its own, tried again when Postgres asks for it (P6).

        `work` must be harmless when its commit succeeded but the answer was lost: idempotency
        keys and versions make the court's own use cases so.
        """

        def attempt() -> T:
            with self.transaction() as connection:
                return work(connection)

        return with_retries(attempt)

    def alone(self, statement: Query, *, most_seconds: float) -> None:
        """One statement outside any transaction, for what Postgres refuses inside one.

        Raises psycopg.errors.QueryCanceled when it takes longer than `most_seconds`. The limit is
        kept from here: a setting of the session would outlive it behind a pooler.
        """
        with self._opened_pool().connection() as connection:
            limit = Timer(most_seconds, connection.cancel_safe)
            limit.start()
            try:
                connection.execute(statement)
            finally:
                limit.cancel()
                limit.join()

    def close(self) -> None:
        """Close the pool. In another process than the opener's this only forgets it."""
        pool, self._pool = self._pool, None
        if pool is not None and self._owner_pid == os.getpid():
            pool.close()

    def _opened_pool(self) -> ConnectionPool[PatientConnection]:
        if self._pool is None:
            with self._opening:
                if self._pool is None:
                    self._pool = self._open_pool()
                    self._owner_pid = os.getpid()
        if self._owner_pid != os.getpid():
            raise ForkedPool(
                f"this pool belongs to process {self._owner_pid}; open one after the fork"
            )
        return self._pool

    def _open_pool(self) -> ConnectionPool[PatientConnection]:
        return ConnectionPool(
            self.url,
            connection_class=PatientConnection,
            min_size=self._min_size,
            max_size=self._max_size,
            timeout=self._wait_seconds,
            reconnect_timeout=RECONNECT_SECONDS,
            kwargs={
                "autocommit": True,
                "prepare_threshold": None,
                "application_name": self._application_name,
                **CONNECTION_LIMITS,
            },
            configure=self._configure,
            open=True,
        )

    def _configure(self, connection: PatientConnection) -> None:
        connection.answer_seconds = self._answer_seconds
        # Lists go to Postgres in binary. As text, which psycopg would choose, each element is
        # searched for what must be escaped: 48 us for an outpoint instead of 0.3.
        connection.adapters.register_dumper(list, ListBinaryDumper)
