"""The watcher as a process: rounds until it is told to end, its heartbeat beside them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from uuid import uuid4

import psycopg
import structlog

from chain.bitcoin_core import BitcoinCore
from chain.errors import ChainError
from chain.hints import hints
from storage import lease
from storage.database import Database
from storage.errors import CursorMismatch, Fenced
from storage.retries import is_retryable
from tasks.collector import collect_seldom
from tasks.logs import configure
from tasks.settings import Settings
from workers.chain_watcher import ChainWatcher, Step
from workers.watcher.progress import Progress

_log = structlog.get_logger()

#: A leader whose rounds fail so often in a row, or whose node is not to be followed, lets another
#: one try, with a node of its own.
_FAILURES_TO_STAND_DOWN = 3
_SECOND_NODE_SECONDS = 5.0


def run(settings: Settings) -> None:
    """Watch until SIGTERM or SIGINT."""
    configure("watcher", level=settings.log_level, fmt=settings.log_format)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    holder = uuid4()
    db = Database(settings.required_database_url, application_name=lease.session_name(holder))
    chain = BitcoinCore(
        settings.required_bitcoind_url,
        cookie_file=settings.bitcoind_cookie_file,
        rest=settings.bitcoind_rest,
    )
    with (
        closing(db),
        closing(chain),
        closing(hints(settings.bitcoind_zmq_url)) as news,
        _second(settings) as second,
    ):
        watcher = ChainWatcher(
            db,
            chain,
            second=second,
            progress=Progress(
                db,
                no_block_seconds=settings.no_block_alarm_seconds,
                docket_seconds=settings.docket_alarm_seconds,
            ),
            network=settings.network,
            lease_seconds=settings.lease_seconds,
            holder=holder,
            grace_seconds=settings.grace_seconds,
            stopping=stop.is_set,
        )
        failures = 0
        collect_seldom()
        with watcher.heartbeat():
            while not stop.is_set():
                step = _round(watcher.step)
                failures = failures + 1 if step in (None, Step.WAITING) else 0
                if failures and failures % _FAILURES_TO_STAND_DOWN == 0:
                    _round(watcher.stand_down)
                    stop.wait(watcher.rhythm_seconds)
                if step is not Step.MOVED:
                    news.wait(watcher.rest_seconds(step, settings.poll_seconds), stop)
        _round(watcher.stand_down)
        _log.info("stopped")


@contextmanager
def _second(settings: Settings) -> Iterator[BitcoinCore | None]:
    """The node to compare with, if there is one; it may not hold up the first one for long."""
    if settings.second_bitcoind_url is None:
        yield None
        return
    url, patience = settings.second_bitcoind_url, _SECOND_NODE_SECONDS
    with closing(BitcoinCore(url, timeout_seconds=patience)) as chain:
        yield chain


def _round(work: Callable[[], Step | None]) -> Step | None:
    """One step; what passes by itself is logged and tried again soon."""
    try:
        return work()
    except (ChainError, Fenced, CursorMismatch) as error:
        _log.warning("watching pauses", reason=str(error), error=type(error).__name__)
    except psycopg.Error as error:
        if not is_retryable(error):
            raise
        _log.warning("Postgres is away", error=str(error))
    return None
