"""What a leader that freezes in the middle of a commit can still do: nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from uuid import UUID, uuid4

import psycopg
import pytest

from storage import blocks, lease
from storage.database import Database
from storage.errors import Fenced
from tests.storage import examples
from tests.storage.examples import block_hash
from tests.storage.test_chain_tables import height

NAME = lease.CHAIN_WATCHER


@pytest.fixture
def frozen() -> UUID:
    """The holder that will freeze."""
    return uuid4()


@pytest.fixture
def sessions(database_url: str, frozen: UUID) -> Iterator[Database]:
    """Its connections, named as the watcher names its own."""
    with closing(Database(database_url, application_name=lease.session_name(frozen))) as database:
        yield database


def first_cursor(db: Database) -> None:
    with db.transaction() as conn:
        examples.add_node(conn)
        blocks.init_cursor(conn, height(100), block_hash(100))


def test_a_session_name_is_not_cut_off() -> None:
    assert len(lease.session_name(uuid4())) < 64


def test_c9_a_leader_that_freezes_within_a_transaction_is_rolled_back_and_fenced(
    db: Database, sessions: Database, frozen: UUID
) -> None:
    """Its row locks would hold the next leader off; what it wrote so far is undone."""
    first_cursor(db)
    with sessions.transaction() as conn:
        epoch = lease.acquire(conn, NAME, frozen, 0)
    assert epoch == 1
    with pytest.raises(psycopg.OperationalError):
        _write_a_block_and_freeze_in_it(sessions, db)
    with db.transaction() as conn:
        cursor = blocks.cursor(conn)
        assert cursor is not None
        assert (cursor.height, cursor.hash, cursor.step) == (101, block_hash(999), 1)


def _write_a_block_and_freeze_in_it(sessions: Database, db: Database) -> None:
    with sessions.transaction() as conn:
        blocks.connect(conn, height(101), block_hash(101), block_hash(100), 1)
        # Here it freezes. The lease is over; the next one comes.
        with db.transaction() as other:
            taken = lease.acquire(other, NAME, uuid4(), 60)
        with db.transaction() as other:
            assert taken == 2 or lease.acquire(other, NAME, uuid4(), 60) == 2
        with db.transaction() as other:
            blocks.connect(other, height(101), block_hash(999), block_hash(100), 2)
        # It wakes up.
        conn.execute("SELECT 1")


def test_c9_a_leader_that_wakes_up_changes_no_row(
    db: Database, sessions: Database, frozen: UUID
) -> None:
    """Between two transactions: each write begins with the epoch, and finds another one."""
    first_cursor(db)
    with sessions.transaction() as conn:
        assert lease.acquire(conn, NAME, frozen, 0) == 1
    with db.transaction() as conn:
        assert lease.acquire(conn, NAME, uuid4(), 60) == 2
    with sessions.transaction() as conn:
        assert not lease.renew(conn, NAME, frozen, 1, 60)
        lease.release(conn, NAME, frozen, 1)
    with pytest.raises(Fenced), sessions.transaction() as conn:
        blocks.connect(conn, height(101), block_hash(101), block_hash(100), 1)
    with pytest.raises(Fenced), sessions.transaction() as conn:
        blocks.disconnect(conn, height(100), block_hash(100), 1)
    with db.transaction() as conn:
        held = lease.read(conn, NAME)
        assert held is not None
        assert (held.epoch, held.live) == (2, True)
        assert blocks.cursor(conn) == blocks.Cursor(height(100), block_hash(100), 0)


def test_c9_who_was_fenced_is_recorded_once(db: Database, frozen: UUID) -> None:
    with db.transaction() as conn:
        lease.acquire(conn, NAME, frozen, 0)
    for _ in range(2):
        with db.transaction() as conn:
            lease.record_fencing(conn, NAME, frozen, 1)
    with db.transaction() as conn:
        assert conn.execute("SELECT holder, epoch FROM fencings").fetchall() == [(frozen, 1)]


def test_a_holder_whose_lease_runs_is_left_alone(
    db: Database, sessions: Database, frozen: UUID
) -> None:
    with sessions.transaction() as conn:
        assert lease.acquire(conn, NAME, frozen, lease.LONGEST_SECONDS) == 1
    with sessions.transaction() as conn:
        lease.hold(conn, NAME, 1)
        with db.transaction() as other:
            assert lease.acquire(other, NAME, uuid4(), 60) is None
        lease.hold(conn, NAME, 1)


def test_p7_whoever_asks_waits_for_no_holder_that_can_not_be_expelled(
    db: Database, frozen: UUID
) -> None:
    """Its sessions may bear another name, behind a pooler, or belong to another user."""
    with db.transaction() as conn:
        assert lease.acquire(conn, NAME, frozen, 0) == 1
    with db.transaction() as holding:
        lease.hold(holding, NAME, 1)
        with db.transaction() as other:
            other.execute("SET LOCAL lock_timeout = '200ms'")
            assert lease.acquire(other, NAME, uuid4(), 60) is None


def test_a_renewal_waits_for_nothing_that_the_holder_writes(db: Database, frozen: UUID) -> None:
    """A block may take longer than the lease."""
    with db.transaction() as conn:
        assert lease.acquire(conn, NAME, frozen, 60) == 1
    with db.transaction() as writing:
        lease.hold(writing, NAME, 1)
        with db.transaction() as heart:
            heart.execute("SET LOCAL lock_timeout = '200ms'")
            assert lease.renew(heart, NAME, frozen, 1, 60)


def test_a_renewal_of_an_epoch_that_is_over_renews_nothing(db: Database) -> None:
    """Though its holder leads again: what was begun in that epoch is fenced."""
    holder = uuid4()
    with db.transaction() as conn:
        assert [lease.acquire(conn, NAME, holder, 60) for _ in range(2)] == [1, 2]
        assert not lease.renew(conn, NAME, holder, 1, 60)
        assert lease.renew(conn, NAME, holder, 2, 60)
