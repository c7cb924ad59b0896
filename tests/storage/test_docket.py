"""The docket: numbered without gaps, keyed, chained, and never waiting for a case."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from contractcourt.alarms import AlarmKind
from contractcourt.case import State
from contractcourt.events import ChannelOpened
from storage import alarms, cases, channels, docket, docket_hashes
from storage.database import Database
from storage.docket import Appended, NewEntry
from storage.errors import BrokenDocket, UnknownChannel
from tests.storage import examples
from tests.storage.blocked import wait_for_a_blocked_session


def append(db: Database, channel_id: int, number: int, key: str | None = None) -> Appended:
    with db.transaction() as conn:
        return docket.append(
            conn,
            channel_id,
            examples.height(number),
            idempotency_key=key or f"height-{number}",
            source="chain",
        )


def test_entries_are_numbered_and_read_back(db: Database, channel_id: int) -> None:
    assert [append(db, channel_id, n).seq for n in (10, 11, 12)] == [2, 3, 4]
    with db.transaction() as conn:
        found = docket.entries(conn, channel_id, after=1, limit=2)
        assert [(entry.seq, entry.event) for entry in found] == [
            (2, examples.height(10)),
            (3, examples.height(11)),
        ]
        assert found[0].idempotency_key == "height-10"
        assert found[0].source == "chain"
        opened = docket.entries(conn, channel_id)[0].event
        assert opened == ChannelOpened(examples.channel(1))
        assert docket_hashes.verify(conn, channel_id) == 4


def test_p1_a_repeated_key_answers_the_first_number(db: Database, channel_id: int) -> None:
    assert append(db, channel_id, 10, "same") == Appended(2, duplicate=False)
    assert append(db, channel_id, 99, "same") == Appended(2, duplicate=True)
    with db.transaction() as conn:
        assert docket_hashes.verify(conn, channel_id) == 2


def test_p1_a_key_that_is_just_being_appended_by_another_is_seen(
    db: Database, channel_id: int
) -> None:
    with ThreadPoolExecutor(2) as pool:
        with db.transaction() as conn:
            docket.append(
                conn, channel_id, examples.height(10), idempotency_key="same", source="chain"
            )
            again = pool.submit(append, db, channel_id, 99, "same")
            wait_for_a_blocked_session(conn)
        assert again.result() == Appended(2, duplicate=True)
    assert append(db, channel_id, 11) == Appended(3, duplicate=False)
    with db.transaction() as conn:
        assert docket_hashes.verify(conn, channel_id) == 3


def test_append_many_keeps_order_and_finds_repeats_within_itself(
    db: Database, channel_id: int
) -> None:
    with db.transaction() as conn:
        other = examples.open_channel(conn, 2)
        answers = docket.append_many(
            conn,
            [
                NewEntry(other, examples.height(5), "a", "chain"),
                NewEntry(channel_id, examples.height(5), "a", "chain"),
                NewEntry(other, examples.height(6), "b", "chain"),
                NewEntry(other, examples.height(5), "a", "chain"),
                NewEntry(channel_id, examples.height(5), "open", "chain"),
            ],
        )
    assert answers == [
        Appended(2, duplicate=False),
        Appended(2, duplicate=False),
        Appended(3, duplicate=False),
        Appended(2, duplicate=True),
        Appended(1, duplicate=True),
    ]


def test_appending_to_an_unknown_channel_writes_nothing(db: Database, channel_id: int) -> None:
    with pytest.raises(UnknownChannel), db.transaction() as conn:
        docket.append_many(
            conn,
            [
                NewEntry(channel_id, examples.height(5), "a", "chain"),
                NewEntry(4242, examples.height(5), "a", "chain"),
            ],
        )
    with db.transaction() as conn:
        assert docket_hashes.verify(conn, channel_id) == 1


def test_c8_an_append_never_waits_for_a_worker_at_the_case(db: Database, channel_id: int) -> None:
    with db.transaction() as working:
        held = cases.lock_one(working, channel_id)
        assert append(db, channel_id, 10) == Appended(2, duplicate=False)
        channels.mark_closed_many(working, [(channel_id, examples.closed())])
        examples.set_state(working, channel_id, State.CONTRACT_CLOSED)
        assert append(db, channel_id, 11) == Appended(3, duplicate=False)
        # What arrived meanwhile is seen before the case is let go.
        assert [e.seq for e in docket.pending(working, {channel_id: 1}, 10)] == [2, 3]
        assert held.applied_seq == 1


def test_pending_is_bounded_for_each_channel(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        other = examples.open_channel(conn, 2)
        for number in range(5):
            key = f"height-{number}"
            docket.append_many(
                conn,
                [
                    NewEntry(channel_id, examples.height(number), key, "chain"),
                    NewEntry(other, examples.height(number), key, "chain"),
                ],
            )
        found = docket.pending(conn, {other: 1, channel_id: 1}, 2)
    assert [(entry.channel_id, entry.seq) for entry in found] == [
        (channel_id, 2),
        (channel_id, 3),
        (other, 2),
        (other, 3),
    ]


def test_c3_unapplied_channels_are_found_longest_waiting_first(
    db: Database, channel_id: int
) -> None:
    with db.transaction() as conn:
        other = examples.open_channel(conn, 2)
        assert docket.unapplied_channels(conn, 0, 10) == []
        assert docket.backlog(conn) == (0, 0.0)
    append(db, other, 10)
    append(db, channel_id, 10)
    append(db, channel_id, 11)
    with db.transaction() as conn:
        assert docket.unapplied_channels(conn, 0, 10) == [other, channel_id]
        assert docket.unapplied_channels(conn, 0, 1) == [other]
        assert docket.unapplied_channels(conn, 3600, 10) == []
        assert docket.backlog(conn)[0] == 3


def test_c3_a_channel_to_which_something_happens_all_the_time_is_found(
    db: Database, channel_id: int
) -> None:
    """How long it waits is said by its oldest entry, however young the newest is."""
    append(db, channel_id, 10)
    with db.transaction() as conn:
        conn.execute("UPDATE unapplied SET created_at = created_at - interval '1 hour'")
    append(db, channel_id, 11)
    with db.transaction() as conn:
        assert docket.unapplied_channels(conn, 60, 10) == [channel_id]


def test_c3_what_was_written_before_the_clock_was_set_back_is_found(
    db: Database, channel_id: int
) -> None:
    append(db, channel_id, 10)
    with db.transaction() as conn:
        conn.execute("UPDATE unapplied SET created_at = created_at + interval '1 hour'")
        assert docket.unapplied_channels(conn, 60, 10) == [channel_id]


def test_c3_channels_that_are_set_aside_hold_up_no_other(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        other = examples.open_channel(conn, 2)
    append(db, channel_id, 10)
    append(db, other, 10)
    with db.transaction() as conn:
        alarms.raise_alarm(conn, channel_id, AlarmKind.LAW_BROKEN, "a defect")
        assert docket.unapplied_channels(conn, 0, 1) == [other]
        assert docket.unapplied_channels(conn, 0, 10) == [other, channel_id]
        alarms.clear_kind(conn, channel_id, AlarmKind.LAW_BROKEN)
        assert docket.unapplied_channels(conn, 0, 1) == [channel_id]


def test_p4_64_appenders_on_one_channel_leave_no_gap(db: Database, channel_id: int) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: append(db, channel_id, n), range(64)))
        again = list(pool.map(lambda n: append(db, channel_id, n), range(64)))
    assert sorted(answer.seq for answer in answers) == list(range(2, 66))
    assert [answer.seq for answer in again] == [answer.seq for answer in answers]
    assert all(answer.duplicate for answer in again)
    with db.transaction() as conn:
        assert docket_hashes.verify(conn, channel_id) == 65


def test_a_changed_entry_breaks_the_chain(db: Database, channel_id: int) -> None:
    append(db, channel_id, 10)
    append(db, channel_id, 11)
    with psycopg.connect(db.url, autocommit=True) as superuser:
        superuser.execute("SET session_replication_role = replica")
        superuser.execute("UPDATE docket SET payload = '{}' WHERE seq = 2")
    with pytest.raises(BrokenDocket, match="entry 2"), db.transaction() as conn:
        docket_hashes.verify(conn, channel_id)


def test_a_missing_last_entry_breaks_the_chain(db: Database, channel_id: int) -> None:
    append(db, channel_id, 10)
    with psycopg.connect(db.url, autocommit=True) as superuser:
        superuser.execute("SET session_replication_role = replica")
        superuser.execute("DELETE FROM docket WHERE seq = 2")
    with pytest.raises(BrokenDocket, match="head"), db.transaction() as conn:
        docket_hashes.verify(conn, channel_id)


def test_dockets_are_locked_in_the_order_of_their_channels(db: Database) -> None:
    """Or two who append to the same would wait for each other."""
    with db.transaction() as conn:
        examples.add_node(conn)
        ids = [examples.open_channel(conn, number) for number in range(1, 9)]
    first, last = ids[0], ids[-1]
    assert list({first, last}) != [first, last]  # What a set makes of them is another order.
    both = [NewEntry(each, examples.height(7), "block", "chain") for each in (last, first)]

    def append_to_both() -> list[Appended]:
        with db.transaction() as conn:
            return docket.append_many(conn, both)

    with ThreadPoolExecutor(1) as pool:
        with db.transaction() as conn:
            docket.append(conn, first, examples.height(5), idempotency_key="h", source="chain")
            appending = pool.submit(append_to_both)
            wait_for_a_blocked_session(conn)
            docket.append(conn, last, examples.height(5), idempotency_key="h", source="chain")
        assert [one.seq for one in appending.result()] == [3, 3]
