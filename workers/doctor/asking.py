"""One look of the doctor into the court's Postgres."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TypeVar

import psycopg

from storage.database import Connection, Database
from workers.doctor.finding import TIMEOUT_SECONDS

T = TypeVar("T")


def ask_postgres(url: str, look: Callable[[Connection], T]) -> T | None:
    """What it tells; None where it can't be asked, which `check_postgres` says.

    Raises:
        psycopg.errors.InsufficientPrivilege: our user may not look there.
    """
    with closing(Database(url, max_size=1, wait_seconds=TIMEOUT_SECONDS)) as database:
        try:
            with database.transaction() as conn:
                return look(conn)
        except psycopg.errors.InsufficientPrivilege:
            raise
        except psycopg.Error:
            return None
