"""Nothing listens: the tables are looked at, and what that adds is bounded (users_ask P2)."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from contractcourt.events import HeightReached
from contractcourt.units import BlockHeight
from storage import docket
from storage.database import Connection, Database
from storage.docket import NewEntry
from tasks import reconcile
from tasks.arbitration import arbitrate
from tasks.settings import Settings
from tests.tasks.opened import open_channel

_ROOT = Path(__file__).parents[2]
_ROOMS = ("contractcourt", "storage", "chain", "tasks", "workers")
_NOTIFIES = re.compile(r"\bpg_notify\b|\bNOTIFY\s+\w+|\bLISTEN\s+\w+|\.notifies\(", re.MULTILINE)


def test_p2_no_statement_notifies_or_listens(db: Database) -> None:
    """Not in the code, not in a trigger: no commit can wait for another one's notification."""
    found = [
        f"{path}: {hit.group()}"
        for room in _ROOMS
        for path in (_ROOT / room).rglob("*.py")
        for hit in _NOTIFIES.finditer(path.read_text())
    ]
    assert found == []
    with db.transaction() as conn:
        triggers = conn.execute(
            "SELECT p.proname FROM pg_proc AS p"
            " JOIN pg_namespace AS n ON n.oid = p.pronamespace"
            " WHERE n.nspname = current_schema() AND p.prosrc ~* 'pg_notify|\\mnotify\\s'"
        ).fetchall()
        assert triggers == []
        assert conn.execute("SELECT pg_notification_queue_usage()").fetchone() == (0.0,)


def test_p2_with_every_wake_up_lost_one_look_finds_all_of_it(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beat has the tables looked at every `reconcile_seconds`: so much is added, and no more."""
    ids = [open_channel(db, f"unheard {number}")[1] for number in range(5)]
    entries = [NewEntry(c, HeightReached(BlockHeight(500)), "unheard", "chain") for c in ids]
    db.run(lambda conn: docket.append_many(conn, entries))

    def look(conn: Connection) -> list[int]:
        return docket.unapplied_channels(conn, 0.0, reconcile.LIMIT)

    assert sorted(db.run(look)) == ids
    arbitrate(db, db.run(look))
    assert db.run(look) == []
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    beat = importlib.import_module("tasks.celery_config").beat_schedule
    assert beat["reconcile"]["task"] == reconcile.reconcile_task.name
    assert (
        beat["reconcile"]["schedule"].seconds == Settings.model_fields["reconcile_seconds"].default
    )
