"""Run by `make pgbouncer`: the tests that speak to Postgres, all through a pooler."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.pooler.pgbouncer import pooled_postgres, transactions_pooled

#: One at a time: a test beside another, on the same server, would hold back what that one reads on.
_SUITES = (
    ("tests/storage", "tests/tasks", "tests/workers/gateway", "tests/workers/test_leadership.py"),
    ("-m", "pooler", "tests/pooler"),
)


def main(asked: list[str]) -> int:
    """0 when everything passed and really went through the pooler; `asked` are pytest's words."""
    with (
        tempfile.TemporaryDirectory(prefix="contractcourt-pooler-") as folder,
        pooled_postgres(Path(folder)) as (direct, through),
    ):
        given = {"TEST_DATABASE_URL": direct, "TEST_POOLER_URL": through}
        failed = False
        for suite in (asked,) if asked else _SUITES:
            command = [sys.executable, "-m", "pytest", "-q", *suite]
            before = transactions_pooled(through)
            failed |= (
                subprocess.run(command, env={**os.environ, **given}, check=False).returncode != 0
            )
            passed_on = transactions_pooled(through) - before
            print(
                f"{passed_on} transactions went through PgBouncer in transaction mode", flush=True
            )
            failed |= passed_on < 100
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
