"""An older version works on while a newer one brings the schema up (users_ask P7)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import psycopg
import pytest
import sqlalchemy
from alembic.script import ScriptDirectory
from sqlalchemy.pool import NullPool

from storage import migrate as migrating
from storage.errors import MigrationLocked
from storage.migrate import apply, current_revision, head_revision, is_behind, migrate
from tests.storage.expand_only import faults, read
from tests.storage.test_migrate import schema_of

#: Up to here no version was ever at work on another one's schema.
_FIRST_RULED = "0008"
_UNRELEASED = "no version before it was ever released"
#: What stands here although a rule is against it: revision -> the fault's first words, and why.
EXCEPTIONS: dict[str, dict[str, str]] = {
    "0010": {
        "docket (channel_id,seq) is no longer unique": _UNRELEASED,
        "docket (channel_id,idempotency_key) is no longer unique": _UNRELEASED,
    },
    "0011": {
        "sweep_rounds (node) is no longer unique": _UNRELEASED,
        "sweep_rounds (node,urgent) becomes unique": _UNRELEASED,
        "index deadlines_urgent is built on deadlines": _UNRELEASED,
    },
    "0012": {
        "outbox has a new check outbox_of_a_channel": "it stands for the NOT NULL it replaces"
    },
    "0013": {
        "index channel_resolutions_by_kind is built on channel_resolutions": _UNRELEASED,
    },
    "0019": {
        "index webhook_receipts_received is built on webhook_receipts": _UNRELEASED,
    },
    "0020": {
        "index channels_closed is built on channels": _UNRELEASED,
    },
    "0021": {
        "index broadcasts_of_lane is built on broadcasts": _UNRELEASED,
    },
    "0022": {
        "cases (channel_id) is no longer unique": "a trigger says it, nobody inserts twice",
        "cases (channel_id,version) becomes unique": "it holds less than the key it replaces",
        "docket_heads (channel_id) is no longer unique": "as for cases",
        "docket_heads (channel_id,last_seq) becomes unique": "as for cases",
    },
    "0023": {
        "index channels_open_by_type is built on channels": _UNRELEASED,
    },
    "0027": {
        "index channels_of_node_in_state is built on channels": _UNRELEASED,
        "index deadlines_pressing is built on deadlines": _UNRELEASED,
        "index channel_resolutions_to_forget is built on channel_resolutions": _UNRELEASED,
    },
}


@contextmanager
def connected(url: str) -> Iterator[sqlalchemy.Connection]:
    """One transaction, as the migrator has it."""
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool
    )
    with engine.begin() as connection:
        yield connection


def revisions() -> list[str]:
    walked = ScriptDirectory.from_config(migrating._config()).walk_revisions()
    return sorted(script.revision for script in walked)


def test_revisions_are_numbered_in_order() -> None:
    assert revisions() == [f"{number:04}" for number in range(1, len(revisions()) + 1)]


def test_p7_every_migration_only_adds(empty_database_url: str) -> None:
    found: dict[str, list[str]] = {}
    with connected(empty_database_url) as connection:
        for revision in revisions():
            before = read(connection)
            apply(connection, revision)
            if revision >= _FIRST_RULED:
                excused = EXCEPTIONS.get(revision, {})
                told = faults(before, read(connection))
                assert all(any(f.startswith(e) for f in told) for e in excused), "excuse is stale"
                found[revision] = [f for f in told if not f.startswith(tuple(excused))]
    assert not {revision: told for revision, told in found.items() if told}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("ALTER TABLE outbox DROP COLUMN attempts", "outbox.attempts is gone"),
        ("ALTER TABLE outbox RENAME COLUMN attempts TO tries", "outbox.attempts is gone"),
        ("DROP TABLE dummy", "dummy.n is gone"),
        ("ALTER TABLE outbox ALTER COLUMN attempts TYPE bigint", "changes from integer to bigint"),
        ("ALTER TABLE alarms ALTER COLUMN node SET NOT NULL", "alarms.node becomes NOT NULL"),
        ("ALTER TABLE dummy ADD COLUMN must integer NOT NULL", "NOT NULL without a default"),
        ("ALTER TABLE dummy ADD CHECK (n > 1)", "dummy has a new check"),
        (
            "ALTER TABLE dummy DROP CONSTRAINT one_of, ADD CONSTRAINT one_of CHECK (w IN ('a'))",
            "refuses what it allowed: b",
        ),
        ("ALTER TABLE dummy DROP CONSTRAINT dummy_n_key", "dummy (n) is no longer unique"),
        ("CREATE UNIQUE INDEX ON dummy (w)", "dummy (w) becomes unique"),
        ("CREATE INDEX slow ON channels (node, state)", "index slow is built on channels"),
    ],
)
def test_a_migration_that_takes_away_is_found(database_url: str, change: str, fault: str) -> None:
    with connected(database_url) as connection:
        connection.exec_driver_sql(
            "CREATE TABLE dummy (n integer UNIQUE,"
            " w text CONSTRAINT one_of CHECK (w IN ('a', 'b')))"
        )
        before = read(connection)
        connection.exec_driver_sql(change)
        told = faults(before, read(connection))
    assert [f for f in told if fault in f], told


def test_a_migration_that_adds_and_widens_is_not(database_url: str) -> None:
    with connected(database_url) as connection:
        connection.exec_driver_sql("CREATE TABLE dummy (w text CONSTRAINT c CHECK (w IN ('a')))")
        before = read(connection)
        connection.exec_driver_sql(
            "CREATE TABLE another (n integer NOT NULL UNIQUE CHECK (n > 0));"
            "ALTER TABLE dummy ADD COLUMN one integer CHECK (one > 0),"
            " ADD COLUMN two boolean NOT NULL DEFAULT false,"
            " DROP CONSTRAINT c, ADD CONSTRAINT c CHECK (w IN ('a', 'b'))"
        )
        assert faults(before, read(connection)) == []


def test_p7_whoever_works_never_queues_behind_a_migrator_for_long(
    empty_database_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long transaction of a worker is in the way: the others go on as if nobody migrated."""
    monkeypatch.setattr(migrating, "_LET_THROUGH_SECONDS", 0.05)
    with connected(empty_database_url) as connection:
        apply(connection, "0007")
    long, others = psycopg.connect(empty_database_url), psycopg.connect(empty_database_url)
    with closing(long), closing(others), ThreadPoolExecutor(1) as pool:
        long.execute("SELECT count(*) FROM sweep_rounds")
        upgrade = pool.submit(migrate, empty_database_url)
        others.autocommit = True
        # Longer than a migrator may wait, and far shorter than the long transaction.
        others.execute("SET lock_timeout = '20s'")
        seen: set[tuple[int, ...]] = set()
        while not seen or len(seen) < 3:
            waiting = others.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'contractcourt-migrate'"
                " AND datname = current_database() AND wait_event_type = 'Lock'"
            ).fetchall()
            if waiting and waiting[0] not in seen:
                seen.add(waiting[0])
                others.execute("SELECT count(*) FROM sweep_rounds")
                assert not upgrade.done()
        long.commit()
        assert upgrade.result(60)[-1] == head_revision()
    assert schema_of(empty_database_url) == schema_of(database_url)


def test_p7_a_migrator_that_has_what_a_worker_waits_for_lets_go(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Postgres looks for deadlocks sooner than usual, it finds the migrator first."""
    monkeypatch.setattr(migrating, "_LET_THROUGH_SECONDS", 0.05)
    with connected(empty_database_url) as connection:
        apply(connection, "0026")
        connection.exec_driver_sql(
            "INSERT INTO nodes (name, sweep_scripts) VALUES ('alice', ARRAY[''::bytea]);"
            "INSERT INTO channels (channel_point, node, capacity_sat)"
            " VALUES (decode(repeat('00', 36), 'hex'), 'alice', 9);"
            "INSERT INTO channel_resolutions"
            " (channel_id, close_kind, closing_txid, closed_height, resolutions)"
            " SELECT id, 'local', sha256(''), 5, '[]' FROM channels;"
            "UPDATE channels SET state = 'CONTRACT_CLOSED';"
            "INSERT INTO deadlines (channel_id, height, hard_height, reason, value_at_risk_sat)"
            " SELECT id, 9, 9, 'an HTLC is due', 5 FROM channels"
        )
        name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET deadlock_timeout = '900ms'")
    worker, others = psycopg.connect(empty_database_url), psycopg.connect(empty_database_url)
    with closing(worker), closing(others), ThreadPoolExecutor(1) as pool:
        others.autocommit = True
        worker.execute("SET deadlock_timeout = '60s'")
        worker.execute("UPDATE deadlines SET value_at_risk_sat = 6 WHERE height = 11")
        upgrade = pool.submit(migrate, empty_database_url)
        while not others.execute(
            "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'deadlines'::regclass"
        ).fetchone():
            assert not upgrade.done()
        assert worker.execute("UPDATE deadlines SET value_at_risk_sat = 6").rowcount == 1
        worker.commit()
        assert upgrade.result(60)[-1] == head_revision()


def test_p7_a_table_that_is_never_free_ends_the_migrator_and_changes_nothing(
    empty_database_url: str,
) -> None:
    with connected(empty_database_url) as connection:
        apply(connection, "0007")
    with closing(psycopg.connect(empty_database_url)) as long:
        long.execute("SELECT count(*) FROM sweep_rounds")
        with pytest.raises(MigrationLocked, match="in use"):
            migrate(empty_database_url, wait_seconds=0.1)
    assert current_revision(empty_database_url) == "0007"
    assert migrate(empty_database_url)[-1] == head_revision()


def test_an_older_version_takes_a_newer_schema_as_it_is(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as newer:
        newer.execute("UPDATE alembic_version SET version_num = '9999'")
    assert not is_behind("9999")
    assert migrate(database_url) == []
    assert current_revision(database_url) == "9999"
