"""Structured logs: one JSON object a line, written in one piece, from every process alike.

Bind what a step is about with `bound(channel_point=..., node=..., idempotency_key=..., state=...)`;
every line inside the block carries it, those of libraries as well. Bind from the message at
hand, not from the Celery task: one task arbitrates many channels. Secrets never reach a line:
values under telling names and passwords inside URLs are blanked on the way out.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, TextIO

import msgspec
import structlog
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

    Before the first line: a logger of ours that has written one stays as it was.

    Args:
        process: the name every line carries as `process`: `watcher`, `gateway`, ...
        level: lowest level shown, as in `CONTRACTCOURT_LOG_LEVEL`.
        fmt: `json` for machines, `console` for people.
    """
    out = stream or sys.stdout
    least = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(process),
    ]
    last: list[Processor]
    if fmt == "console":
        colours = out.isatty() and not os.environ.get("NO_COLOR")
        last = [blank_secrets, structlog.dev.ConsoleRenderer(colors=colours)]
    else:
        json = structlog.processors.JSONRenderer(_to_json)
        last = [structlog.processors.format_exc_info, blank_secrets, json]
    _write_what_libraries_say(out, least, shared, last)
    structlog.configure(
        processors=[*shared, *last],
        logger_factory=_Lines(out),
        wrapper_class=structlog.make_filtering_bound_logger(least),
        cache_logger_on_first_use=True,
    )


def _write_what_libraries_say(
    out: TextIO, least: int, shared: Sequence[Processor], last: Sequence[Processor]
) -> None:
    """Their lines in the same form, with the `extra` that they carry."""
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(least)
    for chatty in ("httpx", "httpx2", "httpcore", "httpcore2", "alembic", "stamina"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, least))


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Every line logged inside the block carries `fields`."""
    with structlog.contextvars.bound_contextvars(**fields):
        yield


class _Lines:
    """Makes the loggers of our own modules, which write without the standard library's way.

    That would make a record of each line, to be taken apart again by its formatter: twice the time.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._named = structlog.stdlib.LoggerFactory(ignore_frame_names=[__name__])

    def __call__(self, *names: str) -> _NamedLogger:
        return _NamedLogger(self._out, self._named(*names).name)


class _NamedLogger:
    """Writes a line at once and whole."""

    def __init__(self, out: TextIO, name: str) -> None:
        self._out = out
        self.name = name

    def msg(self, line: str) -> None:
        # A disk that is full of logs costs lines, not channels: as the standard library has it.
        with suppress(OSError, ValueError):
            self._out.write(line + "\n")
            self._out.flush()

    debug = info = warning = error = critical = msg


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
