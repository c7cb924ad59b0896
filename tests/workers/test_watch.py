"""`contractcourt watch`: what it shows, once and live, while Postgres comes and goes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from contractcourt.alarms import AlarmKind
from contractcourt.case import State
from contractcourt.effects import HTLC_DUE, WakeAt
from contractcourt.units import BlockHeight, Satoshi
from storage import alarms, blocks, cases, channels, deadlines
from storage.database import Database
from tests.conftest import free_port
from tests.storage import examples
from tests.workers.running_up import clean_environment
from tests.workers.test_cli import Run, court, open_channel, run
from workers.cli.exits import Exit

__all__ = ["court", "run"]

_ROWS, _COLUMNS = 40, 150
_PATIENCE_SECONDS = 120.0


class Terminal:
    """A real terminal with `watch` in it, read as the bytes that it is sent."""

    def __init__(self, folder: Path, database_url: str, redis_url: str) -> None:
        self._ours, theirs = pty.openpty()
        size = struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
        given = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "workers.cli", "watch", "--interval", "0.2"],
            env={**clean_environment(), **given, "CONTRACTCOURT_DATA_DIR": str(folder)},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_as_a_shell_would,
        )
        os.close(theirs)
        self._unread = b""

    def wait_for(self, words: str) -> None:
        """Until these words are shown anew."""
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while words.encode() not in self._unread:
            assert time.monotonic() < give_up_at, self._unread[-3000:].decode(errors="replace")
            if select.select([self._ours], [], [], 0.5)[0]:
                self._unread += os.read(self._ours, 65536)
        self._unread = self._unread.partition(words.encode())[2]

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def read_to_the_end(self) -> int:
        """The exit code, once it has said all."""
        while True:
            try:
                if not os.read(self._ours, 65536):
                    break
            except OSError:  # Linux says so of a terminal whose other end is closed
                break
        return self.process.wait(_PATIENCE_SECONDS)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


def _as_a_shell_would() -> None:
    """Its own terminal, where Ctrl-C counts: a runner in the background has it ignored."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def terminal(tmp_path: Path, database_url: str, redis_url: str) -> Iterator[Terminal]:
    opened = Terminal(tmp_path, database_url, redis_url)
    yield opened
    opened.close()


def bring_to_court(db: Database, point: str) -> None:
    """The channel's commitment is decided, and money depends on height 112; we are at 100."""
    with db.transaction() as conn:
        row = next(r for r in channels.list_channels(conn) if str(r.channel_point) == point)
        stored = cases.lock_one(conn, row.id)
        conn.execute("UPDATE channels SET state = 'BROADCAST_COMMIT' WHERE id = %s", [row.id])
        wake = WakeAt(BlockHeight(112), HTLC_DUE, Satoshi(70_000))
        deadlines.add(conn, stored.channel_id, wake)
        blocks.init_cursor(conn, BlockHeight(100), examples.block_hash(100))
        alarms.raise_alarm(conn, row.id, AlarmKind.NOT_SIGNED, "import its keys")


def test_the_court_is_shown_once_to_machines(
    court: Run, db: Database, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    idle, busy = open_channel(db, 1), open_channel(db, 2)
    bring_to_court(db, busy)
    shown = court("watch", "--json")
    assert shown.code == Exit.OK
    seen = json.loads(shown.out)
    assert (seen["height"], seen["watcher_leads"]) == (100, False)
    assert seen["states"]["DEFAULT"] == seen["states"]["BROADCAST_COMMIT"] == 1
    assert seen["deadlines"] == [
        {"height": 112, "blocks_left": 12, "pressing": True, "count": 1, "value_sat": 70_000}
    ]
    [in_court] = seen["channels"]
    assert (in_court["at_risk_height"], in_court["at_risk_sat"]) == (112, 70_000)
    assert (in_court["channel_point"], in_court["state"]) == (busy, State.BROADCAST_COMMIT)
    assert [(a["about"], a["kind"]) for a in seen["alarms"]] == [(busy, "not_signed")]
    assert set(seen["queues"]) >= {"arbitrate", "publish", "notify", "reconcile"}
    assert idle not in shown.out


def test_the_court_is_shown_once_to_people(court: Run, db: Database) -> None:
    bring_to_court(db, open_channel(db))
    shown = court("watch", "--once")
    assert (shown.code, shown.err) == (Exit.OK, "")
    for words in ("no watcher leads", "1 alarm open", "import its keys", "70 000", "112"):
        assert words in shown.out


def test_redis_that_is_away_is_said_and_nothing_else_is_missing(
    court: Run, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    open_channel(db)
    shown = court("watch", "--once")
    assert shown.code == Exit.OK
    assert "Redis does not answer" in shown.out
    assert "DEFAULT" in shown.out


def test_it_lives_in_a_terminal_through_a_postgres_that_goes_and_comes_back(
    terminal: Terminal, db: Database, postgres_url: str
) -> None:
    terminal.wait_for("no channel is in court")
    bring_to_court(db, open_channel(db))
    terminal.wait_for("import its keys")
    terminal.wait_for("BROADCAST_COMMIT")
    with db.transaction() as conn:
        [name] = conn.execute("SELECT current_database()").fetchone() or [""]
    db.close()
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        terminal.wait_for("Postgres does not answer since")
        terminal.wait_for("import its keys")  # the last picture stays
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    terminal.wait_for("\x1b[1mheight")
    with db.transaction() as conn:
        alarms.clear(conn, [alarm.id for alarm in alarms.list_open(conn)])
    terminal.wait_for("no alarm is open")
    terminal.type(b"\x03")
    assert terminal.read_to_the_end() == Exit.OK
