"""The months of the docket: made ahead, guarded each, and moved without locking anybody out."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from storage import docket, docket_hashes, docket_parts
from storage.database import Database
from storage.docket_parts import Part, Shelf, month_after
from tests.storage import examples

NOW = datetime.now(UTC)
THIS_MONTH = month_after(NOW.date(), 0)
OLD_MONTH = date(2020, 1, 1)


def make(db: Database, month: date) -> Part:
    with db.transaction() as conn:
        conn.execute(docket_parts.MAKE, {"month": month})
        [part] = [part for part in docket_parts.parts(conn) if part.month == month]
    return part


def test_a_fresh_schema_has_room_for_this_month_and_the_next(db: Database) -> None:
    with db.transaction() as conn:
        assert [part.month for part in docket_parts.parts(conn)] == [
            THIS_MONTH,
            month_after(THIS_MONTH, 1),
        ]
        assert docket_parts.room(conn, NOW) >= timedelta(days=28)
        assert docket_parts.make_ahead(conn, NOW) == []


def test_parts_are_made_ahead_and_once(db: Database) -> None:
    later = datetime(THIS_MONTH.year + 1, 12, 31, tzinfo=UTC)
    with db.transaction() as conn:
        assert docket_parts.room(conn, later) == timedelta()
        made = docket_parts.make_ahead(conn, later)
        assert made == [date(later.year, 12, 1), date(later.year + 1, 1, 1)]
        assert docket_parts.make_ahead(conn, later) == []
        assert docket_parts.room(conn, later) == timedelta(days=32)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {part} SET payload = '{{}}'",
        "DELETE FROM {part}",
        "TRUNCATE {part}",
        "INSERT INTO {part} SELECT * FROM docket",
        "DELETE FROM docket_checkpoints",
        "DELETE FROM docket_archive",
    ],
)
def test_p1_no_part_can_be_changed_behind_the_dockets_back(
    db: Database, channel_id: int, statement: str
) -> None:
    part = Part(THIS_MONTH, Shelf.DOCKET)
    with (
        pytest.raises(psycopg.errors.IntegrityConstraintViolation),
        db.transaction() as conn,
    ):
        conn.execute(statement.format(part=part.name).encode())
    with db.transaction() as conn:
        assert docket_hashes.verify(conn, channel_id) == 1


def test_p1_a_checkpoint_stands_on_an_applied_entry(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        docket.append(conn, channel_id, examples.height(5), idempotency_key="a", source="chain")
    put = """
        INSERT INTO docket_checkpoints (channel_id, seq, hash, case_json)
        SELECT channel_id, %s, CASE WHEN %s THEN hash ELSE sha256('') END, '{}'
        FROM docket WHERE seq = least(%s, 2)
    """
    for seq, right_hash in ((1, False), (2, True), (3, True)):
        with pytest.raises(psycopg.errors.CheckViolation), db.transaction() as conn:
            conn.execute(put, (seq, right_hash, seq))
    with db.transaction() as conn:
        conn.execute(put, (1, True, 1))


def test_p8_making_and_detaching_take_no_access_exclusive_lock_on_the_docket(
    db: Database, channel_id: int
) -> None:
    """A transaction that has read and appended stays open; both moves go as far as they can."""
    part = make(db, OLD_MONTH)
    with db.transaction() as working:
        docket.append(working, channel_id, examples.height(5), idempotency_key="a", source="chain")
        make(db, date(2020, 2, 1))  # waits for nothing
        with pytest.raises(psycopg.errors.QueryCanceled):
            db.alone(
                docket_parts.DETACH.format(
                    parent=psycopg.sql.Identifier("docket"),
                    part=psycopg.sql.Identifier(part.name),
                ),
                most_seconds=1.0,
            )
        # What the cut-off move has left behind hinders nobody, and neither does the maker.
        with db.transaction() as maker:
            maker.execute(docket_parts.MAKE, {"month": date(2020, 3, 1)})
            [strongest] = maker.execute(
                """
                SELECT array_agg(DISTINCT mode) FROM pg_locks
                WHERE relation = 'docket'::regclass AND pid = pg_backend_pid()
                """
            ).fetchone() or [[]]
            assert "AccessExclusiveLock" not in strongest
            with db.transaction() as other:
                other.execute("SET LOCAL lock_timeout = '5s'")
                second = examples.open_channel(other, 2)
        docket.append(working, channel_id, examples.height(6), idempotency_key="b", source="chain")
    with db.transaction() as conn:
        assert [p for p in docket_parts.parts(conn) if p.leaving] == [
            Part(OLD_MONTH, Shelf.DOCKET, leaving=True)
        ]
        assert docket_hashes.verify(conn, channel_id) == 3
        assert docket_hashes.verify(conn, second) == 1
    docket_parts.detach(db, Part(OLD_MONTH, Shelf.DOCKET, leaving=True))
    with db.transaction() as conn:
        assert docket_parts.parts(conn)[0] == Part(OLD_MONTH, Shelf.ALONE)


def test_p8_a_part_goes_to_the_archive_without_being_read(db: Database, channel_id: int) -> None:
    """Else a month that is large enough takes longer than a statement may, each time anew."""
    part = make(db, OLD_MONTH)
    with db.transaction() as conn:
        conn.execute("SET LOCAL session_replication_role = replica")
        conn.execute("UPDATE docket SET created_at = '2020-01-15 12:00+00'")
    docket_parts.detach(db, part)
    with db.transaction() as conn:
        docket_parts.archive(conn, part)
        read = "SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = %s"
        assert conn.execute(read, (part.name,)).fetchone() in (None, (0,))
        assert len(docket.entries(conn, channel_id)) == 1


def test_a_statement_alone_is_given_up_in_time(db: Database) -> None:
    began = time.monotonic()
    with pytest.raises(psycopg.errors.QueryCanceled):
        db.alone("SELECT pg_sleep(600)", most_seconds=0.2)
    assert time.monotonic() - began < 300
    db.alone("SELECT 1", most_seconds=60)
