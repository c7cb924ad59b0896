"""Exit codes, and errors in plain words with what to do next."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, NoReturn

from contractcourt.errors import ContractCourtError
from workers.errors import last_line

if TYPE_CHECKING:
    import psycopg


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    INTERRUPTED = 130
    UNREAD = 141


#: What a script may rely on; `--help` and docs/reference/cli.md say the same.
MEANINGS = {
    Exit.OK: "done",
    Exit.FAILED: "it could not be done, or the check found something",
    Exit.USAGE: "wrong arguments or settings: nothing was tried and nothing changed",
    Exit.UNAVAILABLE: "Postgres, Redis, the Bitcoin node or the signer does not answer: try again",
    Exit.INTERRUPTED: "Ctrl-C",
    Exit.UNREAD: "nobody reads the output any more",
}


class CommandFailed(ContractCourtError):
    """The command was understood and could not be done."""


@contextmanager
def explain() -> Iterator[None]:
    """Turn an error of ours, or of what we depend on, into one message and an exit code."""
    try:
        try:
            yield
        finally:
            # Here, and not when the interpreter ends, which would complain of a reader that left.
            sys.stdout.flush()
    except ContractCourtError as error:
        _leave(str(error), _code_of(error))
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        _leave_unread()
    except SystemExit as left:
        # Typer makes a plain failure of it.
        if isinstance(left.__context__, BrokenPipeError):
            _leave_unread()
        raise
    except Exception as error:
        words = _in_plain_words(error)
        if words is None:
            raise
        _leave(*words)


def _code_of(error: ContractCourtError) -> Exit:
    from tasks.errors import SettingsError
    from tasks.signer_client import SignerFailed, SignerUnavailable

    if isinstance(error, SettingsError):
        return Exit.USAGE
    away = isinstance(error, SignerFailed | SignerUnavailable)
    if away or type(error).__name__ == "ChainUnavailable":
        return Exit.UNAVAILABLE
    return Exit.FAILED


def _in_plain_words(error: Exception) -> tuple[str, Exit] | None:
    """For errors of what we speak to Postgres and Redis by, and of files; None for our defects."""
    import kombu.exceptions
    import psycopg
    import redis

    match error:
        case psycopg.errors.UndefinedTable() | psycopg.errors.UndefinedColumn():
            return "the database is not up to date: run `contractcourt migrate`", Exit.UNAVAILABLE
        case psycopg.OperationalError():
            return _about_postgres(error), Exit.UNAVAILABLE
        case psycopg.Error():
            return f"Postgres refused: {last_line(error)}", Exit.FAILED
        case redis.RedisError() | kombu.exceptions.OperationalError():
            return (
                f"Redis does not answer: {last_line(error)}; is it running at REDIS_URL?",
                Exit.UNAVAILABLE,
            )
        case OSError(filename=str(path), strerror=str(reason)):
            return f"{path}: {reason}", Exit.FAILED
        case UnicodeEncodeError(encoding="utf-8"):
            return "an argument has a byte that is no UTF-8 text", Exit.USAGE
        case _:
            return None


def _about_postgres(error: psycopg.OperationalError) -> str:
    return (
        f"Postgres does not answer: {last_line(error)}. Is it running? `contractcourt doctor` "
        "checks every part; DATABASE_URL or --data-dir says where it is"
    )


def _leave_unread() -> NoReturn:
    """The reader of our output has seen enough, and what is left of it goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(Exit.UNREAD)


def _leave(message: str, code: Exit) -> None:
    print(f"contractcourt: {message}", file=sys.stderr)
    sys.exit(code)
