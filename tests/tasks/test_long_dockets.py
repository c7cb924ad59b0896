"""A channel with a long past costs no more for its next event than one with none (users_ask P6)."""

from __future__ import annotations

import time
from typing import Any

import pytest

from contractcourt.advance import advance
from contractcourt.events import HeightReached
from contractcourt.units import BlockHeight
from storage import database, docket
from storage.database import Connection, Database
from storage.docket import NewEntry
from tasks import proof
from tasks.arbitration import apply_pending, arbitrate
from tests.summary import Summary
from tests.tasks.opened import open_channel

_SHORT, _LONG = 20, 4_000


def heights(db: Database, channel_id: int, first: int, last: int) -> None:
    for start in range(first, last, 1_000):
        entries = [
            NewEntry(channel_id, HeightReached(BlockHeight(h)), f"height:{h}", "chain")
            for h in range(start, min(last, start + 1_000))
        ]
        with db.transaction() as conn:
            docket.append_many(conn, entries)


def rows_read(conn: Connection) -> int:
    """Rows that this transaction has read so far from any table, by Postgres's own count."""
    [(rows,)] = conn.execute(
        "SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0) FROM pg_stat_xact_user_tables"
    ).fetchall()
    return int(rows)


def cost_of_the_next(db: Database, channel_id: int, height: int) -> tuple[int, int, int]:
    """Rows read to append an entry, rows read to apply it, and bytes of the stored case."""
    entry = NewEntry(channel_id, HeightReached(BlockHeight(height)), f"height:{height}", "chain")
    with db.transaction() as conn:
        before = rows_read(conn)
        docket.append_many(conn, [entry])
        appended = rows_read(conn)
        assert apply_pending(conn, [channel_id]).applied == 1
        applied = rows_read(conn)
        [(size,)] = conn.execute(
            "SELECT octet_length(case_json) FROM cases WHERE channel_id = %s", (channel_id,)
        ).fetchall()
    return appended - before, applied - appended, int(size)


def test_p6_the_next_event_costs_the_same_after_thousands(db: Database, summary: Summary) -> None:
    """Rows and bytes, not the clock."""
    _, channel_id = open_channel(db, "a long past")
    heights(db, channel_id, 1_000, 1_000 + _SHORT)
    arbitrate(db, [channel_id])
    early = cost_of_the_next(db, channel_id, 1_000 + _SHORT)
    heights(db, channel_id, 2_000, 2_000 + _LONG)
    arbitrate(db, [channel_id])
    with db.transaction() as conn:
        conn.execute("ANALYZE")
    late = cost_of_the_next(db, channel_id, 9_000)
    # Plans may differ by a row or two; whoever read the past would read thousands.
    assert late[0] <= early[0] + 5
    assert late[1] <= early[1] + 5
    assert late[2] == early[2]
    summary(
        f"the next event after {_SHORT} and {_LONG} entries: {early[0]} and {late[0]} rows read "
        f"to append, {early[1]} and {late[1]} to apply, {early[2]} bytes of case both times"
    )


def test_a_docket_is_proved_although_the_law_takes_its_time_for_each_entry(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hundreds of HTLCs. Postgres ends a transaction that says nothing for long."""
    _, channel_id = open_channel(db, "slow")
    heights(db, channel_id, 1_000, 1_200)
    arbitrate(db, [channel_id])
    hasty = database.BEGIN.replace("'15s'", "'1s'")

    def slowly(*asked: Any) -> Any:
        time.sleep(0.01)
        return advance(*asked)

    monkeypatch.setattr(proof, "advance", slowly)
    monkeypatch.setattr(database, "BEGIN", hasty)
    assert proof.prove(db, channel_id) == []
