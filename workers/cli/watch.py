"""`contractcourt watch`: the court, live in the terminal."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import psycopg
import typer
from rich.console import Console, RenderableType
from rich.live import Live

from storage.database import Database
from tasks.environment import load_settings
from tasks.settings import Settings
from workers.cli import scene, tables
from workers.cli.access import database, hand_on
from workers.cli.glance import Glance, take
from workers.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir

#: Looking takes at most this share of the time, however large the court is.
_PAUSE_FOR_EACH_SECOND = 9.0
_WAIT_SECONDS = 2.0
_MOST_CHANNELS = 200
_MOST_ALARMS = 20


def watch(
    once: Annotated[
        bool, typer.Option("--once", help="Show it once and end; so it does without a terminal.")
    ] = False,
    interval: Annotated[
        float, typer.Option("--interval", min=0.2, max=3600, help="Seconds between two looks.")
    ] = 1.0,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """The court live: channels in court, deadlines, alarms, what waits. Ctrl-C ends it."""
    settings = load_settings(data_dir=data_dir)
    if settings.redis_url is not None:
        hand_on(settings)
    if once or as_json or not sys.stdout.isatty():
        with database(data_dir) as db:
            seen = take(
                db, settings.redis_url, channels_shown=_MOST_CHANNELS, alarms_shown=_MOST_ALARMS
            )
        _show_once(seen, as_json=as_json)
        return
    _watch(settings, interval)


def _show_once(seen: Glance, *, as_json: bool) -> None:
    if as_json:
        tables.write_json(seen.as_dict())
    else:
        tables.console().print(scene.draw(seen, None, rows=None))


def _watch(settings: Settings, interval: float) -> None:
    console = Console(highlight=False)
    eye = _Eye(settings)
    # The pool's own words about a Postgres that is away would tear the picture.
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    with _quiet_end(), Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            began = time.monotonic()
            live.update(eye.look(console.height), refresh=True)
            spent = 0.0 if eye.away else time.monotonic() - began
            time.sleep(max(interval, spent * _PAUSE_FOR_EACH_SECOND))


@contextmanager
def _quiet_end() -> Iterator[None]:
    """Ctrl-C is how it ends, and so no failure."""
    try:
        yield
    except KeyboardInterrupt:
        return


@dataclass
class _Eye:
    """Looks again and again, over a Postgres that may go away and come back."""

    settings: Settings
    _db: Database | None = None
    _last: Glance | None = None
    _away_since: float | None = None

    @property
    def away(self) -> bool:
        """Whether Postgres did not answer the last look."""
        return self._away_since is not None

    def look(self, rows: int) -> RenderableType:
        """The picture of now; or the last one, under a line that says since when it is old."""
        before = self._last
        try:
            self._last = take(
                self._opened(),
                self.settings.redis_url,
                channels_shown=_MOST_CHANNELS,
                alarms_shown=_MOST_ALARMS,
            )
            self._away_since = None
        except psycopg.OperationalError:
            self._close()
            self._away_since = self._away_since or time.time()
            return scene.away(self._last, self._away_since, rows=rows)
        return scene.draw(self._last, before, rows=rows)

    def _opened(self) -> Database:
        if self._db is None:
            self._db = Database(
                self.settings.required_database_url,
                max_size=1,
                application_name="contractcourt-watch",
                wait_seconds=_WAIT_SECONDS,
            )
        return self._db

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
