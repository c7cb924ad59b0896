"""Letters in order, endpoints that are left alone, dead letters and their way back."""

from __future__ import annotations

from uuid import UUID

import pytest

from contractcourt.alarms import AlarmKind
from contractcourt.effects import NotifyNode
from storage import alarms, dead_letters, endpoints, letters, outbox
from storage.database import Connection, Database
from storage.dead_letters import Replay
from storage.letters import Letter
from tests.legible import all_of
from tests.storage import examples

MOST = 3
ONE, OTHER = UUID(int=1), UUID(int=2)


def notice(number: int) -> NotifyNode:
    return NotifyNode("channel.closing", {"number": number})


def due(conn: Connection, endpoint: str = examples.NODE) -> list[int]:
    return [letter.id for letter in letters.take(conn, endpoint, 100)]


def make_due(conn: Connection, letter_id: int) -> None:
    """As if its pause were over."""
    conn.execute("UPDATE outbox SET due_at = clock_timestamp() WHERE id = %s", (letter_id,))


def kill(conn: Connection, letter_id: int) -> None:
    """Refused as often as it takes."""
    died = [letters.mark_refused(conn, letter_id, "it answered 400", MOST) for _ in range(MOST)]
    assert died == [False] * (MOST - 1) + [True]


def test_letters_of_a_channel_never_overtake(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        other = examples.open_channel(conn, 2)
        first, second = outbox.put_many(conn, [(channel_id, notice(1)), (channel_id, notice(2))])
        elsewhere = outbox.put_many(conn, [(other, notice(3))])[0]
        assert due(conn) == [first, elsewhere]
        assert not letters.mark_refused(conn, first, "it answered 500", MOST)
        # The first one waits for its next try, and the second one for the first.
        assert due(conn) == [elsewhere]
        make_due(conn, first)
        assert due(conn) == [elsewhere, first]
        letters.mark_taken(conn, [first])
        assert due(conn) == [second, elsewhere]


@pytest.mark.parametrize("event_type", ["htlc.fulfilled", "htlc.failed"])
def test_what_an_htlc_upstream_waits_for_overtakes_all_but_its_own_channel(
    db: Database, channel_id: int, event_type: str
) -> None:
    """A node that was away for hours finds the letters of a mass close before it."""
    with db.transaction() as conn:
        bulk = [examples.open_channel(conn, number) for number in range(2, 12)]
        first, *others = outbox.put_many(conn, [(one, notice(1)) for one in (*bulk, channel_id)])
        before = others.pop()
        urgent, after = outbox.put_many(
            conn, [(channel_id, NotifyNode(event_type, {})), (channel_id, notice(2))]
        )
        for expected in (before, urgent):
            assert due(conn) == [expected]
            letters.mark_taken(conn, [expected])
        assert due(conn) == [first, *others, after]


@pytest.mark.parametrize("event_type", ["htlc.fulfilled", "channel.closed"])
def test_a_letter_goes_to_its_own_endpoint_alone(
    db: Database, channel_id: int, event_type: str
) -> None:
    with db.transaction() as conn:
        letter = outbox.put_many(conn, [(channel_id, NotifyNode(event_type, {}))])[0]
        examples.add_node(conn, "bob")
        assert due(conn, "bob") == []
        assert due(conn) == [letter]


def test_what_the_operator_refused_is_missing_to_no_node(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        alarms.raise_alarm(conn, channel_id, AlarmKind.UNKNOWN_SPEND, "somebody spent it")
        [told] = due(conn, endpoints.OPERATOR)
        outbox.put_many(conn, [(channel_id, notice(1))])
        kill(conn, told)
        [letter] = all_of(Letter, letters.take(conn, examples.NODE, 10))
    assert letter.missing == ()


def test_an_urgent_letter_that_is_not_due_holds_up_nobody(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        other = examples.open_channel(conn, 2)
        urgent = outbox.put_many(conn, [(channel_id, NotifyNode("htlc.failed", {}))])[0]
        elsewhere = outbox.put_many(conn, [(other, notice(1))])[0]
        letters.mark_unanswered(conn, urgent, "no answer")
        assert due(conn) == [elsewhere]
        letters.hurry(conn, examples.NODE)
        assert due(conn) == [urgent]


def test_a_letter_names_its_endpoint_whoever_writes_it(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        # As a worker of the version before does it, during an upgrade.
        conn.execute(
            "INSERT INTO outbox (channel_id, kind, effect) SELECT channel_id, kind, effect FROM "
            "(VALUES (%s, 'notify_node', %s)) AS given (channel_id, kind, effect)",
            (channel_id, '{"type":"notify_node","event_type":"channel.closed","data":{}}'),
        )
        [letter] = all_of(Letter, letters.take(conn, examples.NODE, 10))
    assert letter.event_type == "channel.closed"


def test_a_dead_letter_lets_the_next_ones_go_on_and_each_names_it(
    db: Database, channel_id: int
) -> None:
    with db.transaction() as conn:
        first, second = outbox.put_many(conn, [(channel_id, notice(1)), (channel_id, notice(2))])
        kill(conn, first)
        [letter] = all_of(Letter, letters.take(conn, examples.NODE, 10))
        assert (letter.id, [one.split("_")[1] for one in letter.missing]) == (second, [str(first)])
        letters.mark_taken(conn, [second])
        third = outbox.put_many(conn, [(channel_id, notice(3))])[0]
        [dead] = dead_letters.list_letters(conn)
        assert (dead.id, dead.event_type, dead.attempts) == (first, "channel.closing", MOST)
        assert dead.last_error == "it answered 400"
        # Sent again, it is ahead of what came later, and nothing is missing any more.
        assert dead_letters.replay(conn, first) is Replay.REPLAYED
        assert due(conn) == [first]
        letters.mark_taken(conn, [first])
        [letter] = all_of(Letter, letters.take(conn, examples.NODE, 10))
    assert (letter.id, letter.missing) == (third, ())


def test_a_letter_that_is_sent_again_misses_none_that_came_after_it(
    db: Database, channel_id: int
) -> None:
    with db.transaction() as conn:
        ids = outbox.put_many(conn, [(channel_id, notice(1)), (channel_id, notice(2))])
        for letter_id in ids:
            kill(conn, letter_id)
        dead_letters.replay(conn, ids[0])
        [letter] = all_of(Letter, letters.take(conn, examples.NODE, 10))
    assert (letter.id, letter.missing) == (ids[0], ())


def test_what_is_forgiven_was_never_refused(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        letter = outbox.put_many(conn, [(channel_id, notice(1))])[0]
        for _ in range(2):
            for _ in range(MOST - 1):
                assert not letters.mark_refused(conn, letter, "it answered 400", MOST)
            letters.forgive(conn, examples.NODE)
            assert due(conn) == [letter]


def test_the_pause_of_what_is_not_answered_grows_by_that_alone(
    db: Database, channel_id: int
) -> None:
    pause = "SELECT round(extract(epoch FROM due_at - clock_timestamp()))::int FROM outbox"
    with db.transaction() as conn:
        letter = outbox.put_many(conn, [(channel_id, notice(1))])[0]
        for _ in range(MOST - 1):
            letters.mark_refused(conn, letter, "it answered 400", MOST)
        letters.mark_unanswered(conn, letter, "no answer")
        assert conn.execute(pause).fetchall() == [(2,)]


def test_an_urgent_letter_that_is_sent_again_is_as_urgent_as_before(
    db: Database, channel_id: int
) -> None:
    with db.transaction() as conn:
        urgent = outbox.put_many(conn, [(channel_id, NotifyNode("htlc.fulfilled", {}))])[0]
        kill(conn, urgent)
        bulk = [examples.open_channel(conn, number) for number in range(2, 5)]
        outbox.put_many(conn, [(one, notice(1)) for one in bulk])
        dead_letters.replay(conn, urgent)
        assert due(conn) == [urgent]


def test_a_dead_letter_of_a_newer_version_hides_no_other(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        other = examples.open_channel(conn, 2)
        newer, known = outbox.put_many(conn, [(one, notice(1)) for one in (channel_id, other)])
        kill(conn, newer)
        kill(conn, known)
        spoil = "UPDATE dead_letters SET effect = replace(effect, 'notify_node', 'unheard_of')"
        conn.execute(f"{spoil} WHERE id = %s".encode(), [newer])
        found = [(dead.id, dead.event_type) for dead in dead_letters.list_letters(conn)]
    assert found == [(newer, "unknown to this version"), (known, "channel.closing")]


def test_a_replay_asked_twice_sends_once(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        first = outbox.put_many(conn, [(channel_id, notice(1))])[0]
        kill(conn, first)
        assert dead_letters.replay(conn, first) is Replay.REPLAYED
        assert dead_letters.replay(conn, first) is Replay.ALREADY_REPLAYED
        assert dead_letters.replay(conn, first + 1) is Replay.UNKNOWN
        assert dead_letters.list_letters(conn) == []
        assert len(dead_letters.list_letters(conn, with_replayed=True)) == 1
        # Refused again as often: it is dead again, and can be sent again.
        kill(conn, first)
        [dead] = dead_letters.list_letters(conn)
        assert dead.attempts == 2 * MOST
        assert dead_letters.replay(conn, first) is Replay.REPLAYED


def test_the_alarm_of_a_channel_is_over_with_its_last_dead_letter(
    db: Database, channel_id: int
) -> None:
    with db.transaction() as conn:
        ids = outbox.put_many(conn, [(channel_id, notice(1)), (channel_id, notice(2))])
        for one in ids:
            kill(conn, one)
            alarms.raise_alarm(conn, channel_id, AlarmKind.DEAD_LETTER, f"letter {one}")
        dead_letters.replay(conn, ids[0])
        assert len(alarms.list_open(conn)) == 2
        dead_letters.replay(conn, ids[1])
        assert alarms.list_open(conn) == []


def test_one_sender_at_a_time_and_a_dead_sender_lets_go(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        outbox.put_many(conn, [(channel_id, notice(1))])
        assert endpoints.waiting(conn, 0) == ["alice"]
        assert endpoints.claim(conn, "alice", ONE, 60) == 0
        # The commit's answer was lost: it does not wait for itself.
        assert endpoints.claim(conn, "alice", ONE, 60) == 0
        assert endpoints.claim(conn, "alice", OTHER, 60) is None
        assert endpoints.waiting(conn, 0) == []
        endpoints.release(conn, "alice", ONE)
        assert endpoints.claim(conn, "alice", ONE, 0) == 0
        # That one's time is over: it was stopped for long. It gives nothing back of the next one's.
        assert endpoints.claim(conn, "alice", OTHER, 60) == 0
        endpoints.release(conn, "alice", ONE)
        assert endpoints.claim(conn, "alice", ONE, 60) is None


def test_an_endpoint_that_is_silent_is_left_alone_for_longer_each_time(
    db: Database, channel_id: int
) -> None:
    pause = "SELECT extract(epoch FROM open_until - clock_timestamp()) FROM webhook_endpoints"
    with db.transaction() as conn:
        letter = outbox.put_many(conn, [(channel_id, notice(1))])[0]
        assert endpoints.claim(conn, "alice", ONE, 60) == 0
        waits = []
        for failures in range(1, 15):
            said = endpoints.note_silence(conn, "alice", "refused", leave_alone=True)
            assert said == failures
            [[seconds]] = conn.execute(pause).fetchall()
            waits.append(float(seconds))
        endpoints.release(conn, "alice", ONE)
        assert waits == pytest.approx([min(2**n, 600) for n in range(1, 15)], abs=0.5)
        # The letter is due, and yet nobody asks for it.
        assert due(conn) == [letter]
        assert endpoints.waiting(conn, 0) == []
        assert endpoints.claim(conn, "alice", ONE, 60) is None
        conn.execute("UPDATE webhook_endpoints SET open_until = clock_timestamp()")
        assert endpoints.waiting(conn, 0) == ["alice"]
        assert endpoints.claim(conn, "alice", ONE, 60) == 14
        endpoints.note_answer(conn, "alice")
        [known] = endpoints.list_all(conn)
    assert (known.failures, known.open_until, known.last_error) == (0, None, None)


def test_a_letter_that_is_not_answered_waits_longer_each_time_until_anything_is(
    db: Database, channel_id: int
) -> None:
    wait = "SELECT extract(epoch FROM due_at - clock_timestamp()) FROM outbox WHERE id = %s"
    with db.transaction() as conn:
        other = examples.open_channel(conn, 2)
        letter, refused = outbox.put_many(conn, [(channel_id, notice(1)), (other, notice(2))])
        waits = []
        for _ in range(12):
            letters.mark_unanswered(conn, letter, "no answer")
            [[seconds]] = conn.execute(wait, (letter,)).fetchall()
            waits.append(float(seconds))
        assert waits == pytest.approx([min(2**n, 600) for n in range(1, 13)], abs=0.5)
        letters.mark_refused(conn, refused, "it answered 400", MOST)
        letters.hurry(conn, "alice")
        assert due(conn) == [letter]


def test_letters_that_nobody_listens_for_are_done(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        outbox.put_many(conn, [(channel_id, notice(n)) for n in range(5)])
        assert letters.drop(conn, "alice", 3) == 3
        assert letters.drop(conn, "alice", 3) == 2
        assert letters.drop(conn, "alice", 3) == 0


def test_the_operator_is_told_of_every_alarm_in_the_same_commit(
    db: Database, channel_id: int
) -> None:
    with db.transaction() as conn:
        alarms.raise_alarm(conn, channel_id, AlarmKind.BREACH, "a thief")
        alarms.raise_alarm(conn, channel_id, AlarmKind.BREACH, "a thief")
        alarms.raise_alarm(conn, None, AlarmKind.REORG_TOO_DEEP, "look")
    with db.transaction() as conn:
        told = all_of(Letter, letters.take(conn, endpoints.OPERATOR, 10))
        assert [letter.event_type for letter in told] == ["alarm.raised"] * 2
        assert [letter.data["kind"] for letter in told] == ["breach", "reorg_too_deep"]
        assert told[0].data["node"] == "alice"
        assert told[0].data["channel_point"] == str(examples.outpoint(1))
        assert told[1].data["channel_point"] is None
        letters.mark_taken(conn, [letter.id for letter in told])
        alarms.clear_kind(conn, channel_id, AlarmKind.BREACH)
        [over] = all_of(Letter, letters.take(conn, endpoints.OPERATOR, 10))
    assert over.event_type == "alarm.cleared"
    assert over.data["alarm_id"] == told[0].data["alarm_id"]
    assert over.data["cleared_at"] is not None
