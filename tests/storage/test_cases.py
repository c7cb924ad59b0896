"""Cases: one worker at a time, one version at a time (users_ask P4)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import msgspec
import psycopg
import pytest

from contractcourt.case import State
from contractcourt.codec import encode
from contractcourt.units import BlockHeight
from storage import cases, channels, docket
from storage.database import Connection, Database
from storage.docket import NewEntry
from storage.errors import StaleCase, UnknownChannel
from tests.storage import examples
from tests.storage.blocked import wait_for_a_blocked_session


def test_a_stored_case_is_read_back(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        held = cases.lock_one(conn, channel_id)
        docket.append(conn, channel_id, examples.height(10), idempotency_key="h", source="chain")
        moved = msgspec.structs.replace(
            held.case, state=State.BROADCAST_COMMIT, best_height=BlockHeight(10)
        )
        cases.store(conn, replace(held, case=moved, applied_seq=2))
    with db.transaction() as conn:
        found = cases.read(conn, channel_id)
        row = channels.by_ids(conn, [channel_id])[0]
        assert docket.unapplied_channels(conn, 0, 10) == []
    assert found == cases.StoredCase(channel_id, moved, applied_seq=2, version=2, applied_from=2)
    assert (row.state, row.applied_seq, row.last_seq) == (State.BROADCAST_COMMIT, 2, 2)


def test_storing_leaves_later_entries_unapplied(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        held = cases.lock_one(conn, channel_id)
        for number in (10, 11):
            docket.append(
                conn, channel_id, examples.height(number),
                idempotency_key=str(number), source="chain",
            )  # fmt: skip
        cases.store(conn, replace(held, applied_seq=2))
        assert docket.unapplied_channels(conn, 0, 10) == [channel_id]
        assert docket.backlog(conn)[0] == 1


def test_c9_a_case_read_before_another_store_cannot_be_stored(
    db: Database, channel_id: int
) -> None:
    with db.transaction() as conn:
        early = cases.read(conn, channel_id)
    assert early is not None
    with db.transaction() as conn:
        cases.store(conn, cases.lock_one(conn, channel_id))
    with pytest.raises(StaleCase), db.transaction() as conn:
        cases.store(conn, early)


def test_locking_leaves_out_what_another_worker_holds(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        other = examples.open_channel(conn, 2)
    with db.transaction() as first, db.transaction() as second:
        assert [c.channel_id for c in cases.lock(first, [channel_id])[0]] == [channel_id]
        assert [c.channel_id for c in cases.lock(second, [other, channel_id])[0]] == [other]


def test_waiting_for_a_case_is_bounded(db: Database, channel_id: int) -> None:
    with db.transaction() as first, db.transaction() as second:
        cases.lock_one(first, channel_id)
        second.execute("SET LOCAL lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            cases.lock_one(second, channel_id)


def test_locking_reads_a_case_again_only_if_it_was_stored_since(
    db: Database, channel_id: int
) -> None:
    with db.transaction() as conn:
        early = cases.read(conn, channel_id)
        assert early is not None
        assert cases.lock_one(conn, channel_id, early) is early
        moved = msgspec.structs.replace(early.case, best_height=BlockHeight(10))
        cases.store(conn, replace(early, case=moved))
    with db.transaction() as conn:
        now = cases.lock_one(conn, channel_id, early)
    assert (now.case, now.version) == (moved, early.version + 1)


def test_a_case_locked_after_waiting_is_the_one_that_the_holder_stored(
    db: Database, channel_id: int
) -> None:
    with db.transaction() as conn:
        early = cases.read(conn, channel_id)
    assert early is not None
    moved = msgspec.structs.replace(early.case, best_height=BlockHeight(10))

    def lock() -> cases.StoredCase:
        with db.transaction() as conn:
            return cases.lock_one(conn, channel_id, early)

    with ThreadPoolExecutor(1) as pool:
        with db.transaction() as conn:
            cases.store(conn, replace(cases.lock_one(conn, channel_id), case=moved))
            waiting = pool.submit(lock)
            wait_for_a_blocked_session(conn)
        assert waiting.result().case == moved


def test_an_unknown_channel_has_no_case(db: Database) -> None:
    with db.transaction() as conn:
        assert cases.read(conn, 4242) is None
        assert cases.lock(conn, [4242]) == ([], {})
        with pytest.raises(UnknownChannel):
            cases.lock_one(conn, 4242)


def test_p4_64_workers_on_one_channel_apply_each_entry_once(db: Database, channel_id: int) -> None:
    """Each worker appends one entry and drains whatever waits; nobody fails, nothing is lost."""
    drained: list[int] = []

    def work(number: int) -> None:
        with db.transaction() as conn:
            docket.append(
                conn, channel_id, examples.height(number),
                idempotency_key=f"h{number}", source="chain",
            )  # fmt: skip
        with db.transaction() as conn:
            held = cases.lock_one(conn, channel_id)
            waiting = docket.pending(conn, {channel_id: held.applied_seq}, 1000)
            if waiting:
                cases.store(conn, replace(held, applied_seq=waiting[-1].seq))
        drained.extend(entry.seq for entry in waiting)

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(work, range(64)))
    assert sorted(drained) == list(range(2, 66))
    with db.transaction() as conn:
        assert docket.backlog(conn)[0] == 0


def test_many_cases_are_stored_at_once(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        ids = [channel_id, *(examples.open_channel(conn, n) for n in range(2, 12))]
        docket.append_many(
            conn, [NewEntry(each, examples.height(7), "h7", "chain") for each in ids]
        )
        held, left = cases.lock(conn, ids)
        assert not left
        cases.store_many(conn, [replace(case, applied_seq=2) for case in held])
        assert docket.backlog(conn)[0] == 0
        assert [row.applied_seq for row in channels.by_ids(conn, ids)] == [2] * len(ids)


def test_of_large_cases_a_transaction_reads_as_many_as_it_has_room_for(
    db: Database, channel_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with db.transaction() as conn:
        ids = [channel_id, *(examples.open_channel(conn, n) for n in range(2, 6))]
    with db.transaction() as conn:
        size = len(encode(cases.lock_one(conn, ids[0]).case))
    monkeypatch.setattr(cases, "MOST_BYTES", 3 * size + 100)
    with db.transaction() as conn, db.transaction() as other:
        fitting, left = cases.lock(conn, ids)
        assert [case.channel_id for case in fitting] == ids[:3]
        assert left == dict.fromkeys(ids[3:], 1)
        assert cases.lock(other, ids) == ([], {}), "those that are left are held as well"
    monkeypatch.setattr(cases, "MOST_BYTES", 1)
    with db.transaction() as conn:
        fitting, left = cases.lock(conn, ids)
        assert [case.channel_id for case in fitting] == ids[:1], "the first, however large it is"
        assert left == dict.fromkeys(ids[1:], 1)


def test_p1_a_held_snapshot_costs_the_same_however_much_was_done_under_it(
    db: Database, channel_id: int
) -> None:
    """It keeps every version of every row: a step must not pay for those of the past."""

    def step(number: int) -> int:
        """What appending, locking, looking for more, and storing read."""
        with db.transaction() as conn:
            before = read_so_far(conn)
            docket.append(
                conn, channel_id, examples.height(number),
                idempotency_key=f"h{number}", source="chain",
            )  # fmt: skip
            appending = read_so_far(conn) - before
        with db.transaction() as conn:
            before = read_so_far(conn)
            held = cases.lock_one(conn, channel_id)
            [entry] = docket.pending(conn, {channel_id: held.applied_seq}, 10)
            cases.store(conn, replace(held, applied_seq=entry.seq))
            assert docket.ahead(conn, {channel_id: entry.seq}) == []
            return appending + read_so_far(conn) - before

    with psycopg.connect(db.url) as holding:
        holding.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        holding.execute("SELECT count(*) FROM channels")
        costs = [step(number) for number in range(300)]
    with db.transaction() as conn:
        assert docket.backlog(conn)[0] == 0
    assert 0 < sum(costs[-50:]) <= 1.5 * sum(costs[50:100])


def read_so_far(conn: Connection) -> int:
    """Pages of what a step works on, and entries of its keys, that this session has read.

    They are counted anew now and then, but never within a transaction.
    """
    [(count,)] = conn.execute(
        """
        SELECT sum(pg_stat_get_xact_blocks_fetched(relation)
                   + pg_stat_get_xact_tuples_returned(relation))::bigint
        FROM unnest(ARRAY['unapplied', 'unapplied_pkey', 'cases', 'cases_pkey',
                          'docket_heads', 'docket_heads_pkey']::regclass[]) AS relation
        """
    ).fetchall()
    return int(count)
