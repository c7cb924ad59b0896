"""A connection that does not wait for ever for a server that has fallen silent.

Keepalive finds a host that is gone. Where something in between goes on to acknowledge what is sent
and lets nothing pass, only the time that an answer takes shows it: Postgres ends every statement
of ours itself, so whoever has heard nothing for longer will hear nothing any more.
"""

from __future__ import annotations

from typing import TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

RV = TypeVar("RV")

#: Longer than `statement_timeout` of a transaction.
ANSWER_SECONDS = 40.0


class ServerSilent(psycopg.OperationalError):
    """No answer came in time. The connection is closed; the same may be tried on another one."""


class PatientConnection(psycopg.Connection[TupleRow]):
    """Each exchange with the server ends within `answer_seconds`, or the connection does."""

    answer_seconds = ANSWER_SECONDS

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """As psycopg waits, but not for ever.

        Raises:
            ServerSilent: nothing was heard for `answer_seconds`.
        """
        try:
            return super().wait(gen, interval, self.answer_seconds if timeout is None else timeout)
        except psycopg.OperationalError as error:
            in_the_middle = self.pgconn.transaction_status == TransactionStatus.ACTIVE
            if error.sqlstate is not None or not in_the_middle:
                raise
            self.pgconn.finish()
            raise ServerSilent(
                f"Postgres did not answer within {self.answer_seconds:.0f} s; connection given up"
            ) from error
