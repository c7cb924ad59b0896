"""Structured logs: one JSON object a line, written in one piece, from every process alike.

Bind what a step is about with `bound(channel_point=..., node=..., idempotency_key=..., state=...)`;
every line inside the block carries it, those of libraries as well. Bind from the message at
hand, not from the Celery task: one task arbitrates many channels. Secrets never reach a line:
values under telling names and passwords inside URLs are blanked on the way out.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TextIO

import msgspec
import structlog
from structlog.stdlib import BoundLogger
from structlog.typing import EventDict, Processor, WrappedLogger

_SECRET_NAMES = re.compile(
    r"(?:^|_)(?:secret|token|password|seed|authorization|preimage|privkey|root_key|seal_key)$"
)
_URL_PASSWORD = re.compile(r"(?<=://)([^\s/:@]*):([^\s/@]+)@")
BLANK = "***"


def configure(
    process: str, *, level: str = "info", fmt: str = "json", stream: TextIO | None = None
) -> None:
    """Send the logs of this process, our own and the libraries', to `stream` (default stdout).

    Args:
        process: the name every line carries as `process`: `watcher`, `gateway`, ...
        level: lowest level shown, as in `CONTRACTCOURT_LOG_LEVEL`.
        fmt: `json` for machines, `console` for people.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
        structlog.stdlib.ExtraAdder(),
        _named(process),
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer()
        if fmt == "console"
        else structlog.processors.JSONRenderer(_to_json)
    )
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if fmt == "json":
        last.append(structlog.processors.format_exc_info)
    last += [blank_secrets, renderer]

    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last)
    )
    _ask_less_of_the_library()
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("httpx", "httpx2", "httpcore", "httpcore2", "alembic", "stamina"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))

    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _ask_less_of_the_library() -> None:
    """No line of ours names its thread, its process's name or its place in the code.

    Finding these out for each line costs more than writing it (Logging HOWTO, "Optimization").
    """
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def get_logger(name: str) -> BoundLogger:
    """A logger whose lines carry `logger: name`; call with an event name and fields."""
    logger: BoundLogger = structlog.stdlib.get_logger(name)
    return logger


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Every line logged inside the block carries `fields`."""
    with structlog.contextvars.bound_contextvars(**fields):
        yield


def blank_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Blank values under telling names, and passwords inside URLs, wherever they stand."""
    for name, value in event.items():
        if _is_secret(name):
            event[name] = BLANK
        elif isinstance(value, str) and "://" in value:
            event[name] = _URL_PASSWORD.sub(rf"\1:{BLANK}@", value)
    return event


def _to_json(event: EventDict, default: Callable[[Any], Any]) -> str:
    return msgspec.json.encode(event, enc_hook=default).decode()


@lru_cache(maxsize=1_024)
def _is_secret(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def _named(process: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("process", process)
        return event

    return add
