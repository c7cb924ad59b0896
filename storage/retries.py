"""Which database errors are worth another try, and a bounded way of trying (users_ask P4, P6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import psycopg
import stamina

T = TypeVar("T")

_RETRYABLE_STATES = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "55P03",  # lock_not_available
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now
        "57P05",  # idle_session_timeout
        "25006",  # read_only_sql_transaction: a standby, or a primary that was made one
        "25P03",  # idle_in_transaction_session_timeout
        "25P04",  # transaction_timeout
    }
)
#: Connections, and what the server is out of until somebody makes room: disk, memory, connections.
_RETRYABLE_CLASSES = ("08", "53")


def is_retryable(error: BaseException) -> bool:
    """The same transaction, run again from its start, may well succeed."""
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:
        # No answer of Postgres at all: the connection is gone, or none was to be had.
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate in _RETRYABLE_STATES or error.sqlstate.startswith(_RETRYABLE_CLASSES)


def _worth_retrying(error: Exception) -> bool:
    return is_retryable(error)


def with_retries(work: Callable[[], T], *, attempts: int = 10, seconds: float = 45.0) -> T:
    """Call `work` until it succeeds, with jitter between, at most `attempts` times or `seconds`.

    Raises:
        Exception: the last error when no try is left, and any that is not retryable at once.
    """
    caller = stamina.RetryingCaller(
        attempts=attempts, timeout=seconds, wait_initial=0.05, wait_max=5.0, wait_jitter=0.5
    )
    return caller(_worth_retrying, work)
