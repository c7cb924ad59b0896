"""Old months leave the docket, and the audit still proves every case."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from contractcourt.advance import advance
from contractcourt.alarms import AlarmKind
from contractcourt.effects import AskLocalPoint
from contractcourt.events import HeightReached
from contractcourt.units import BlockHash, BlockHeight
from storage import (
    alarms,
    blocks,
    cases,
    channels,
    checkpoints,
    docket,
    docket_hashes,
    docket_parts,
    fee_coins,
    force_close_entry,
    outbox,
)
from storage.database import Database
from storage.docket_parts import Part, Shelf, month_after
from tasks import arbitration, archive, force_close, proof
from tasks.proof import prove
from tests.storage.examples import give_coins
from tests.tasks.opened import open_channel
from tests.workers.running_up import clean_environment

NOW = datetime.now(UTC)
THIS_MONTH = month_after(NOW.date(), 0)
OLD_MONTH = date(2020, 1, 1)
OLD_PART = "docket_2020_01"


def hear(db: Database, channel_id: int, height: int) -> None:
    with db.transaction() as conn:
        arbitration.apply_at_the_door(
            conn,
            channel_id,
            HeightReached(BlockHeight(height)),
            idempotency_key=f"height-{height}",
            source="chain",
        )


def grow_old(db: Database, up_to_seq: int, month: date = OLD_MONTH) -> None:
    """As if the first entries had come in that month."""
    with db.transaction() as conn:
        conn.execute(docket_parts.MAKE, {"month": month})
        conn.execute("SET LOCAL session_replication_role = replica")  # past the schema's guards
        conn.execute(
            "UPDATE docket SET created_at = %s WHERE seq <= %s",
            (datetime(month.year, month.month, 15, tzinfo=UTC), up_to_seq),
        )


def pass_months(db: Database, count: int, month: date = OLD_MONTH) -> None:
    """As if the court had run for so many whole months since."""
    with db.transaction() as conn:
        for ahead in range(1, count + 3):
            conn.execute(docket_parts.MAKE, {"month": month_after(month, ahead)})


def shelves(db: Database) -> dict[str, Shelf]:
    with db.transaction() as conn:
        return {part.name: part.shelf for part in docket_parts.parts(conn)}


def kinds(db: Database) -> list[str]:
    with db.transaction() as conn:
        return [alarm.kind for alarm in alarms.list_open(conn)]


def run_the_archivist(db: Database, folder: Path, before: str = "") -> None:
    """In a process of its own, after these lines."""
    told = {
        "DATABASE_URL": db.url,
        "REDIS_URL": "redis://127.0.0.1:1/0",  # where its tasks come from; none is needed here
        "CONTRACTCOURT_DATA_DIR": str(folder),
        "CONTRACTCOURT_DOCKET_MONTHS": "2",
    }
    script = f"from tasks import archive\n{before}\narchive.archive_task()"
    subprocess.run([sys.executable, "-c", script], env=clean_environment() | told, check=True)


def test_the_archivist_is_told_of_the_database_alone(db: Database, tmp_path: Path) -> None:
    """It runs as the owner of everything, so it knows no signer and no Bitcoin node."""
    with db.transaction() as conn:
        conn.execute(docket_parts.MAKE, {"month": OLD_MONTH})
    run_the_archivist(db, tmp_path)
    assert shelves(db)[OLD_PART] is Shelf.ARCHIVE


def test_a_month_that_can_t_be_put_away_keeps_nothing_from_being_forgotten(
    db: Database, tmp_path: Path
) -> None:
    _, channel_id = open_channel(db, "long over")
    with db.transaction() as conn:
        sent = outbox.put_many(conn, [(channel_id, AskLocalPoint(1))])[0]
        outbox.mark_sent(conn, sent)
        conn.execute("UPDATE outbox SET sent_at = sent_at - interval '31 days'")
        conn.execute(docket_parts.MAKE, {"month": OLD_MONTH})
        conn.execute("DROP FUNCTION archive_docket_part")
    with pytest.raises(subprocess.CalledProcessError):
        run_the_archivist(db, tmp_path)
    with db.transaction() as conn:
        assert conn.execute("SELECT id FROM outbox WHERE id = %s", [sent]).fetchone() is None


def test_a_month_is_old_by_the_clock_of_postgres(db: Database, tmp_path: Path) -> None:
    """Else a host whose clock is wrong takes away the part that is written to."""
    _, channel_id = open_channel(db, "now")
    wrong_clock = """
class Later(archive.datetime):
    @classmethod
    def now(cls, zone):
        return cls(2099, 1, 1, tzinfo=zone)
archive.datetime = Later
"""
    run_the_archivist(db, tmp_path, wrong_clock)
    hear(db, channel_id, 10)
    assert set(shelves(db).values()) == {Shelf.DOCKET}


def test_an_old_month_goes_to_the_archive_and_the_audit_starts_at_the_checkpoint(
    db: Database,
) -> None:
    ids = [open_channel(db, f"old-{n}")[1] for n in range(3)]
    for height in range(10, 15):
        hear(db, ids[0], height)
    grow_old(db, 4)
    archive.archive(db, NOW, months=2)
    assert shelves(db)[OLD_PART] is Shelf.ARCHIVE
    hear(db, ids[0], 20)
    with db.transaction() as conn:
        for channel_id in ids:
            stored = cases.read(conn, channel_id)
            start = checkpoints.read(conn, channel_id)
            assert stored is not None
            assert start is not None
            assert start.seq == stored.applied_seq - (channel_id == ids[0])
        # Nothing that was once shown has gone.
        assert [e.seq for e in docket.entries(conn, ids[0])] == list(range(1, 9))
        assert [e.seq for e in docket.latest(conn, ids[0])] == list(range(8, 0, -1))
    for channel_id in ids:
        assert prove(db, channel_id) == []
        assert prove(db, channel_id, whole=True) == []


def test_a_dropped_month_leaves_a_docket_that_is_proved_from_its_checkpoint(db: Database) -> None:
    _, channel_id = open_channel(db, "dropped")
    hear(db, channel_id, 10)
    grow_old(db, 2)
    pass_months(db, 3)
    archive.archive(db, NOW, months=2)
    archive.archive(db, NOW, months=2, drop_after_months=3)
    assert OLD_PART not in shelves(db)
    hear(db, channel_id, 11)
    assert prove(db, channel_id) == []
    [difference] = prove(db, channel_id, whole=True)
    assert difference.field == "docket"
    with db.transaction() as conn:
        conn.execute("SET LOCAL session_replication_role = replica")
        conn.execute(
            "UPDATE cases SET case_json = replace(case_json, %s, %s)",
            ('"best_height":11', '"best_height":12'),
        )
    assert [d.field for d in prove(db, channel_id)] == ["best_height"]


def test_what_is_not_proved_or_not_applied_keeps_its_month(db: Database) -> None:
    _, channel_id = open_channel(db, "unproved")
    hear(db, channel_id, 10)
    grow_old(db, 3)
    with db.transaction() as conn:
        conn.execute("SET LOCAL session_replication_role = replica")
        conn.execute(
            "UPDATE cases SET case_json = replace(case_json, %s, %s)",
            ('"best_height":10', '"best_height":9'),
        )
    archive.archive(db, NOW, months=2, drop_after_months=3)
    assert shelves(db)[OLD_PART] is Shelf.DOCKET
    assert kinds(db) == [AlarmKind.DOCKET_NOT_PROVED]
    with db.transaction() as conn:
        conn.execute("SET LOCAL session_replication_role = replica")
        conn.execute(
            "UPDATE cases SET case_json = replace(case_json, %s, %s)",
            ('"best_height":9', '"best_height":10'),
        )
    with db.transaction() as conn:
        docket.append(
            conn, channel_id, HeightReached(BlockHeight(11)), idempotency_key="x", source="chain"
        )
    grow_old(db, 4)
    archive.archive(db, NOW, months=2, drop_after_months=3)
    assert shelves(db)[OLD_PART] is Shelf.DOCKET  # entry 4 waits to be applied
    assert kinds(db) == []
    arbitration.arbitrate(db, [channel_id])
    archive.archive(db, NOW, months=2)
    assert shelves(db)[OLD_PART] is Shelf.ARCHIVE


def test_one_that_can_t_be_read_keeps_no_other_from_being_proved(db: Database) -> None:
    damaged, other = (open_channel(db, name)[1] for name in ("damaged", "other"))
    grow_old(db, 2)
    spoil = "UPDATE cases SET version = version + 1, case_json = '{' WHERE channel_id = %s"
    db.run(lambda conn: conn.execute(spoil, [damaged]))
    archive.archive(db, NOW, months=2)
    assert shelves(db)[OLD_PART] is Shelf.DOCKET
    with db.transaction() as conn:
        [alarm] = alarms.list_open(conn)
        assert checkpoints.read(conn, other) is not None
    assert (alarm.kind, alarm.channel_id) == (AlarmKind.DOCKET_NOT_PROVED, damaged)


def test_those_that_are_proved_are_passed_by_page_by_page(db: Database) -> None:
    """However many channels there are, no statement looks at all of them."""
    ids = [open_channel(db, f"one of many {n}")[1] for n in range(5)]
    grow_old(db, 2)
    part = Part(OLD_MONTH, Shelf.DOCKET)
    with db.transaction() as conn:
        assert docket_parts.uncovered(conn, part, 0, 2) == (ids[:2], ids[1])
    assert archive.cover(db, part)
    with db.transaction() as conn:
        assert docket_parts.uncovered(conn, part, 0, 2) == ([], ids[1])
        assert docket_parts.uncovered(conn, part, ids[1], 2) == ([], ids[3])
        assert docket_parts.uncovered(conn, part, ids[-1], 2) == ([], None)
        assert docket_parts.all_covered(conn, part)
        conn.execute("ALTER TABLE docket_checkpoints DISABLE TRIGGER ALL")
        conn.execute("DELETE FROM docket_checkpoints WHERE channel_id = %s", [ids[-1]])
        assert not docket_parts.all_covered(conn, part)


def test_a_docket_that_takes_longer_than_a_run_is_proved_in_several(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy channel has more entries in a month than any task has the time for."""
    _, channel_id = open_channel(db, "busy for long")
    for height in range(10, 20):
        hear(db, channel_id, height)
    grow_old(db, 12)

    def slowly(*asked: Any) -> Any:
        time.sleep(0.05)
        return advance(*asked)

    monkeypatch.setattr(proof, "advance", slowly)
    monkeypatch.setattr(archive, "_MOST_SECONDS", 0.1)
    proved: list[int] = []
    while shelves(db)[OLD_PART] is Shelf.DOCKET and len(proved) < 12:
        archive.archive(db, NOW, months=2)
        with db.transaction() as conn:
            start = checkpoints.read(conn, channel_id)
        assert start is not None
        proved.append(start.seq)
    assert 1 < proved[0] < proved[-1] == 12
    assert shelves(db)[OLD_PART] is Shelf.ARCHIVE
    assert prove(db, channel_id) == prove(db, channel_id, whole=True) == []


def test_what_comes_while_a_docket_is_proved_breaks_no_proof(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long docket takes longer to be read than a busy channel takes for its next entry."""
    _, channel_id = open_channel(db, "busy")
    grow_old(db, 2)
    hashed, heights, hearing = docket_hashes.chained_hash, itertools.count(10), [False]

    def meanwhile(*asked: Any) -> bytes:
        if not hearing[0]:
            hearing[0] = True
            hear(db, channel_id, next(heights))
            hearing[0] = False
        return hashed(*asked)

    monkeypatch.setattr(docket_hashes, "chained_hash", meanwhile)
    archive.archive(db, NOW, months=2)
    assert kinds(db) == []
    assert shelves(db)[OLD_PART] is Shelf.ARCHIVE
    assert prove(db, channel_id) == []
    assert next(heights) > 12, "entries came meanwhile"


@pytest.mark.parametrize(("months", "shelf"), [(2, Shelf.ARCHIVE), (1_200, Shelf.DOCKET)])
def test_a_month_that_was_cut_off_on_its_way_goes_on(
    db: Database, months: int, shelf: Shelf
) -> None:
    """Or back, when an operator would keep it for longer by now: alone nobody finds it."""
    _, channel_id = open_channel(db, "cut-off")
    grow_old(db, 2)
    part = Part(OLD_MONTH, Shelf.DOCKET)
    assert archive.cover(db, part)
    docket_parts.detach(db, part)
    assert shelves(db)[OLD_PART] is Shelf.ALONE
    archive.archive(db, NOW, months=months)
    assert shelves(db)[OLD_PART] is shelf
    assert prove(db, channel_id, whole=True) == []


def test_what_left_by_a_clock_that_was_ahead_comes_back(db: Database) -> None:
    """Else nothing can be appended until this month is over."""
    _, channel_id = open_channel(db, "ahead")
    archive.archive(db, NOW + timedelta(days=150), months=2)
    assert set(shelves(db).values()) == {Shelf.ARCHIVE}
    with pytest.raises(psycopg.errors.CheckViolation, match="no partition"):
        hear(db, channel_id, 10)
    archive.archive(db, NOW, months=2)
    assert set(shelves(db).values()) == {Shelf.DOCKET}
    hear(db, channel_id, 10)
    assert prove(db, channel_id) == prove(db, channel_id, whole=True) == []


def test_a_clock_that_is_years_ahead_drops_nothing(db: Database) -> None:
    """Nothing brings back what is dropped."""
    _, channel_id = open_channel(db, "years ahead")
    grow_old(db, 1, month=month_after(THIS_MONTH, -2))
    with db.transaction() as conn:
        conn.execute(docket_parts.MAKE, {"month": month_after(THIS_MONTH, -1)})
    later = NOW + timedelta(days=2_000)
    db.run(lambda conn: archive.make_room(conn, later))
    for _ in range(2):
        archive.archive(db, later, months=2, drop_after_months=2)
    archive.archive(db, NOW, months=2, drop_after_months=2)
    hear(db, channel_id, 10)
    assert prove(db, channel_id, whole=True) == []


def test_of_two_months_that_wait_for_a_held_transaction_neither_ends_the_archivist(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is to be forgotten after them would not be."""
    _, channel_id = open_channel(db, "two months")
    grow_old(db, 2, month_after(OLD_MONTH, 1))
    grow_old(db, 1)
    monkeypatch.setattr(docket_parts, "_MOST_SECONDS", 0.5)
    with psycopg.connect(db.url) as holding:
        holding.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        holding.execute("SELECT count(*) FROM docket")
        archive.archive(db, NOW, months=2)
    archive.archive(db, NOW, months=2)
    assert list(shelves(db).values())[:2] == [Shelf.ARCHIVE] * 2
    assert prove(db, channel_id, whole=True) == []


def test_a_held_transaction_delays_the_move_and_nothing_else(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, channel_id = open_channel(db, "held")
    grow_old(db, 2)
    monkeypatch.setattr(docket_parts, "_MOST_SECONDS", 0.5)
    with psycopg.connect(db.url) as holding:
        holding.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        holding.execute("SELECT count(*) FROM docket")
        archive.archive(db, NOW, months=2)
        assert shelves(db)[OLD_PART] is Shelf.DOCKET
        hear(db, channel_id, 12)
    archive.archive(db, NOW, months=2)
    assert shelves(db)[OLD_PART] is Shelf.ARCHIVE
    assert prove(db, channel_id, whole=True) == []


def test_a_known_key_is_known_across_months(db: Database) -> None:
    _, channel_id = open_channel(db, "keys")
    hear(db, channel_id, 10)
    grow_old(db, 3, month_after(NOW.date(), -1))
    hear(db, channel_id, 10)
    with db.transaction() as conn:
        assert channels.by_ids(conn, [channel_id])[0].last_seq == 3


def test_p8_a_missing_future_part_alarms_a_week_ahead(db: Database) -> None:
    with db.transaction() as conn:
        end = NOW + docket_parts.room(conn, NOW)
        for ahead in range(3):  # whatever stands in the way of the next months
            month = month_after(end.date(), ahead)
            conn.execute(f"CREATE TABLE {Part(month, Shelf.ALONE).name} (other integer)".encode())
    early, late = end - timedelta(days=7, minutes=1), end - timedelta(days=6, hours=23)
    for at, expected in ((early, []), (late, [AlarmKind.DOCKET_PART_MISSING]), (early, [])):
        with db.transaction() as conn:
            archive.make_room(conn, at)
        assert kinds(db) == expected


def test_p8_whoever_may_not_make_a_part_alarms_and_goes_on(db: Database) -> None:
    with db.transaction() as conn:
        end = NOW + docket_parts.room(conn, NOW)
        conn.execute("ALTER FUNCTION make_docket_part(date) RENAME TO somebody_elses")
    with db.transaction() as conn:
        archive.make_room(conn, end - timedelta(days=8))
    assert kinds(db) == []
    with db.transaction() as conn:
        archive.make_room(conn, end - timedelta(days=6))
    assert kinds(db) == [AlarmKind.DOCKET_PART_MISSING]


def test_a_repeated_force_close_still_knows_the_first_request(db: Database) -> None:
    sim, channel_id = open_channel(db, "asked")
    with db.transaction() as conn:
        row = channels.find(conn, sim.channel.channel_point)
        assert row is not None
        force_close.request(
            conn, row, requested_by="operator", reason="gone", idempotency_key="one"
        )
    arbitration.arbitrate(db, [channel_id])
    grow_old(db, 100)
    archive.archive(db, NOW, months=2)
    with db.transaction() as conn:
        assert force_close_entry.find(conn, channel_id) == 3


def test_the_archivist_forgets_what_is_long_over_and_what_is_not_stays(db: Database) -> None:
    _, channel_id = open_channel(db, "long over")
    with db.transaction() as conn:
        rows = [
            outbox.put_many(conn, [(channel_id, AskLocalPoint(number))])[0] for number in range(2)
        ]
        outbox.mark_sent_many(conn, rows)
        conn.execute(
            "UPDATE outbox SET sent_at = sent_at - interval '31 days' WHERE id = %s", [rows[0]]
        )
        blocks.init_cursor(conn, BlockHeight(30 * 144 + 7), BlockHash(bytes(32)))
        give_coins(conn, "alice", 1_000, 2_000)
        for coin, height in zip(sorted(fee_coins.outpoints(conn)), (7, 8), strict=True):
            fee_coins.spend(conn, [coin], BlockHeight(height), BlockHash(bytes(32)))
    archive.forget(db, 30)
    with db.transaction() as conn:
        found = conn.execute("SELECT id FROM outbox WHERE id = ANY(%s)", [rows]).fetchall()
        spent = conn.execute("SELECT spent_height FROM fee_wallet_coins").fetchall()
    assert found == [(rows[1],)]
    assert spent == [(8,)]
