"""Cursor, lease, spends, watches and deadlines: what the watcher rests on."""

from __future__ import annotations

import dataclasses
from uuid import uuid4

import psycopg
import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.effects import WakeAt, WatchOutpoint
from contractcourt.units import BlockHeight, HexBytes, Satoshi, Script
from storage import blocks, deadlines, lease, spends, watches
from storage.database import Connection, Database
from storage.errors import CursorMismatch, Fenced
from storage.spends import ConfirmedSpend
from tests.storage import examples
from tests.storage.examples import block_hash, outpoint, txid


def height(number: int) -> BlockHeight:
    return BlockHeight(number)


def lead(db: Database) -> int:
    """Take the watcher's lease with a new holder after its expiry; the epoch."""
    with db.transaction() as conn:
        epoch = lease.acquire(conn, lease.CHAIN_WATCHER, uuid4(), 0)
    assert epoch is not None
    return epoch


def connect(db: Database, number: int, epoch: int) -> int:
    with db.transaction() as conn:
        return blocks.connect(
            conn, height(number), block_hash(number), block_hash(number - 1), epoch
        )


class TestLease:
    def test_one_holder_at_a_time(self, db: Database) -> None:
        first, second = uuid4(), uuid4()
        with db.transaction() as conn:
            assert lease.acquire(conn, "x", first, 60) == 1
        with db.transaction() as conn:
            assert lease.acquire(conn, "x", second, 60) is None
            assert lease.renew(conn, "x", first, 1, 60)
            assert not lease.renew(conn, "x", second, 1, 60)
            lease.release(conn, "x", first, 1)
        with db.transaction() as conn:
            assert lease.acquire(conn, "x", second, 60) == 2
            assert not lease.renew(conn, "x", first, 1, 60)
            held = lease.read(conn, "x")
        assert held is not None
        assert (held.holder, held.epoch, held.live) == (second, 2, True)

    def test_c9_a_writer_holds_off_a_take_over_but_not_a_renewal(self, db: Database) -> None:
        holder = uuid4()
        with db.transaction() as conn:
            lease.acquire(conn, "x", holder, 0)
        with db.transaction() as writing:
            lease.hold(writing, "x", 1)
            with db.transaction() as conn:
                assert lease.acquire(conn, "x", uuid4(), 60) is None
                assert lease.renew(conn, "x", holder, 1, 0)
        with db.transaction() as conn:
            assert lease.acquire(conn, "x", uuid4(), 60) == 2

    def test_p7_whoever_led_before_ends_nobodys_lease(self, db: Database) -> None:
        first, second = uuid4(), uuid4()
        with db.transaction() as conn:
            assert lease.acquire(conn, "x", first, 0) == 1
        with db.transaction() as conn:
            assert lease.acquire(conn, "x", second, 60) == 2
            for holder, epoch in ((first, 1), (first, 2), (second, 1)):
                lease.release(conn, "x", holder, epoch)
                assert not lease.renew(conn, "x", holder, epoch, 0)
            standing = lease.read(conn, "x")
        assert standing is not None
        assert standing.live


class TestCursor:
    def test_it_goes_up_and_down_one_block_at_a_time(self, db: Database) -> None:
        epoch = lead(db)
        with db.transaction() as conn:
            assert blocks.cursor(conn) is None
            blocks.init_cursor(conn, height(100), block_hash(100))
        assert [connect(db, n, epoch) for n in (101, 102)] == [1, 2]
        with db.transaction() as conn:
            assert blocks.disconnect(conn, height(102), block_hash(102), epoch) == 3
            assert blocks.cursor(conn) == blocks.Cursor(height(101), block_hash(101), 3)
        assert connect(db, 102, epoch) == 4
        with db.transaction() as conn:
            assert blocks.recent_hashes(conn, 2) == [
                (102, block_hash(102)),
                (101, block_hash(101)),
            ]

    def test_a_block_that_does_not_follow_is_refused(self, db: Database) -> None:
        epoch = lead(db)
        with db.transaction() as conn:
            blocks.init_cursor(conn, height(100), block_hash(100))
        for number in (100, 102):
            with pytest.raises((CursorMismatch, psycopg.errors.UniqueViolation)):
                connect(db, number, epoch)
        with pytest.raises(CursorMismatch), db.transaction() as conn:
            blocks.disconnect(conn, height(101), block_hash(101), epoch)
        with pytest.raises(CursorMismatch), db.transaction() as conn:
            blocks.disconnect(conn, height(100), block_hash(100), epoch)

    def test_known_ancestors_let_it_go_below_its_beginning(self, db: Database) -> None:
        epoch = lead(db)
        ancestors = [block_hash(99), block_hash(98)]
        with db.transaction() as conn:
            blocks.init_cursor(conn, height(100), block_hash(100), ancestors)
            blocks.init_cursor(conn, height(500), block_hash(500))
        with db.transaction() as conn:
            blocks.disconnect(conn, height(100), block_hash(100), epoch)
            blocks.disconnect(conn, height(99), block_hash(99), epoch)
            assert blocks.cursor(conn) == blocks.Cursor(height(98), block_hash(98), 2)

    def test_p7_an_old_epoch_is_fenced(self, db: Database) -> None:
        old = lead(db)
        with db.transaction() as conn:
            blocks.init_cursor(conn, height(100), block_hash(100))
        new = lead(db)
        with pytest.raises(Fenced):
            connect(db, 101, old)
        with pytest.raises(Fenced), db.transaction() as conn:
            blocks.disconnect(conn, height(100), block_hash(100), old)
        assert connect(db, 101, new) == 1


class TestSpends:
    def spend(self, channel_id: int, number: int, block: int) -> ConfirmedSpend:
        return ConfirmedSpend(
            channel_id, outpoint(1), txid(number), HexBytes(b"tx"), height(7), block_hash(block)
        )

    def test_what_a_block_made_and_spent_is_unspent_before_it_is_gone(
        self, db: Database, channel_id: int
    ) -> None:
        made, spent = self.spend(channel_id, 9, 1), self.spend(channel_id, 2, 1)
        spent = dataclasses.replace(spent, outpoint=OutPoint.of(made.txid, 0))
        with db.transaction() as conn:
            spends.record_many(conn, [made, spent])
            assert spends.mark_stale(conn, block_hash(1)) == [spent, made]

    def test_recorded_once_and_stale_after_a_reorg(self, db: Database, channel_id: int) -> None:
        first, second = self.spend(channel_id, 1, 1), self.spend(channel_id, 2, 2)
        with db.transaction() as conn:
            spends.record_many(conn, [first])
            spends.record_many(conn, [first])
            assert spends.find_confirmed(conn, [outpoint(1), outpoint(2)]) == {outpoint(1): first}
            assert spends.mark_stale(conn, block_hash(1)) == [first]
            assert spends.mark_stale(conn, block_hash(1)) == []
            spends.record_many(conn, [second])
            assert spends.list_for(conn, channel_id) == [second]
            spends.mark_stale(conn, block_hash(2))
            spends.record(
                conn, channel_id, first.outpoint, first.txid, first.raw_tx, height(7), block_hash(1)
            )
            assert spends.list_for(conn, channel_id) == [first]


class TestWatches:
    def watch(self, number: int) -> WatchOutpoint:
        return WatchOutpoint(outpoint(number), examples.SWEEP_SCRIPT, height(5))

    def test_of_two_in_one_statement_the_later_is_kept(self, db: Database, channel_id: int) -> None:
        """A splice is watched when it is told, and again, with all its facts, when it confirms."""
        told, known = WatchOutpoint(outpoint(1), Script(b"")), self.watch(1)
        with db.transaction() as conn:
            for pair in ((told, known), (known, told)):
                watches.add_many(conn, [(channel_id, watch) for watch in pair])
                [kept] = watches.find(conn, [outpoint(1)])
                assert kept.script_pubkey == pair[1].script_pubkey
                assert kept.from_height == pair[1].from_height

    def test_a_follower_sees_additions_and_removals(self, db: Database, channel_id: int) -> None:
        with db.transaction() as conn:
            for number in (1, 2):
                watches.add(conn, channel_id, self.watch(number))
                watches.add(conn, channel_id, self.watch(number))
        with db.transaction() as conn:
            begin = watches.position(conn)
            first = list(watches.active(conn, page=1))
        assert first == [(outpoint(1), channel_id), (outpoint(2), channel_id)]
        with db.transaction() as conn:
            [before] = watches.find(conn, [outpoint(1)])
            watches.remove(conn, channel_id, outpoint(1))
            watches.add(conn, channel_id, self.watch(3))
        with db.transaction() as conn:
            then = watches.position(conn)
            later = watches.changed_since(conn, begin)
            anew = [watched for watched, _ in watches.active(conn)]
        assert [watch.outpoint for watch in later.added] == [outpoint(3)]
        assert [watch.outpoint for watch in later.removed] == [outpoint(1)]
        assert anew == [outpoint(2), outpoint(3)]
        with db.transaction() as conn:
            watches.add(conn, channel_id, self.watch(1))
        with db.transaction() as conn:
            again = watches.changed_since(conn, then)
            assert [watch.outpoint for watch in again.added] == [outpoint(1)]
            assert [found.id for found in watches.find(conn, [outpoint(1)])] == [before.id]

    def test_a_watch_that_commits_late_is_not_missed(self, db: Database, channel_id: int) -> None:
        """It began before one that committed first: a sequence number would hide it for ever."""
        with db.transaction() as slow:
            watches.add(slow, channel_id, self.watch(1))
            with db.transaction() as quick:
                watches.add(quick, channel_id, self.watch(2))
            with db.transaction() as conn:
                begin = watches.position(conn)
                early = [watched for watched, _ in watches.active(conn)]
        with db.transaction() as conn:
            late = watches.changed_since(conn, begin)
        assert early == [outpoint(2)]
        assert outpoint(1) in [watch.outpoint for watch in late.added]

    def test_what_one_channel_watches_no_longer_another_still_does(
        self, db: Database, channel_id: int
    ) -> None:
        with db.transaction() as conn:
            other = examples.open_channel(conn, 2)
            for of in (channel_id, other):
                watches.add(conn, of, self.watch(1))
            watches.remove(conn, channel_id, outpoint(1))
            assert [found.channel_id for found in watches.find(conn, [outpoint(1)])] == [other]
            assert watches.ever(conn, [outpoint(1)]) == {outpoint(1): {channel_id, other}}

    def test_the_past_of_what_is_watched_anew_is_looked_at_anew(
        self, db: Database, channel_id: int
    ) -> None:
        """It may have been spent while nobody watched it."""
        with db.transaction() as conn:
            watches.add(conn, channel_id, self.watch(1))
            everything = watches.to_look_back(conn, 10)
            watches.looked_back(conn, [found.id for found in everything])
            assert watches.to_look_back(conn, 10) == []
            watches.remove(conn, channel_id, outpoint(1))
            watches.add(conn, channel_id, self.watch(1))
            [anew] = watches.to_look_back(conn, 10)
            assert anew.outpoint == outpoint(1)
            watches.remove(conn, channel_id, outpoint(1))
            assert watches.to_look_back(conn, 10) == []

    def test_a_past_whose_spend_a_reorg_took_back_is_looked_at_again(
        self, db: Database, channel_id: int
    ) -> None:
        with db.transaction() as conn:
            for number in (1, 2, 3):
                watches.add(conn, channel_id, self.watch(number))
            everything = watches.to_look_back(conn, 10)
            watches.looked_back(conn, [found.id for found in everything])
            for number in (1, 2):
                spends.record(
                    conn, channel_id, outpoint(number), txid(number), b"tx",
                    height(100 + number), block_hash(100 + number),
                )  # fmt: skip
            spends.mark_stale(conn, block_hash(101))
            watches.look_back_again(conn)
            found = {watch.outpoint for watch in watches.to_look_back(conn, 10)}
            assert outpoint(2) not in found
            assert {outpoint(1), outpoint(3)} <= found

    def test_nothing_new_is_an_empty_answer(self, db: Database, channel_id: int) -> None:
        with db.transaction() as conn:
            watches.add(conn, channel_id, self.watch(1))
        with db.transaction() as conn:
            begin = watches.position(conn)
            second = watches.changed_since(conn, begin)
        assert (second.added, second.removed) == ((), ())


class TestDeadlines:
    def wake(self, at: int, reason: str = "an HTLC is due", value: int = 5) -> WakeAt:
        return WakeAt(height(at), reason, Satoshi(value))

    def add(self, conn: Connection, channel_id: int) -> None:
        deadlines.add_many(
            conn,
            [
                (channel_id, self.wake(120)),
                (channel_id, self.wake(110)),
                (channel_id, self.wake(110, "a delay ends", 0)),
                (channel_id, self.wake(110, value=9)),
            ],
        )
        deadlines.add(conn, channel_id, self.wake(110, value=7))

    def test_due_ones_come_once_a_height(self, db: Database, channel_id: int) -> None:
        with db.transaction() as conn:
            self.add(conn, channel_id)
            assert deadlines.due(conn, height(109), 10) == []
            assert deadlines.due(conn, height(115), 10) == [(channel_id, 110)]
            assert deadlines.due(conn, height(130), 1) == [(channel_id, 110)]
            deadlines.delete_fired(conn, [(channel_id, height(110))])
            assert deadlines.due(conn, height(130), 10) == [(channel_id, 120)]
            deadlines.delete_fired(conn, [(channel_id, height(120))])
            assert deadlines.list_deadlines(conn) == []

    def test_of_two_for_one_appointment_the_sooner_and_the_dearer_count(
        self, db: Database, channel_id: int
    ) -> None:
        """Two HTLCs of one height: what can't wait for the one can't wait for both."""
        at, reason = height(110), "an HTLC is due"
        late = WakeAt(at, reason, Satoshi(5), hard_height=height(118))
        soon = WakeAt(at, reason, Satoshi(7), hard_height=height(112), urgent=True)
        with db.transaction() as conn:
            deadlines.add_many(conn, [(channel_id, late), (channel_id, soon)])
            [found] = deadlines.list_deadlines(conn)
            assert found.value_at_risk_sat == 7
            assert deadlines.due(conn, at, 10) == []
            assert deadlines.due(conn, at, 10, urgent=True) == [(channel_id, at)]
            assert deadlines.due(conn, height(111), 10, urgent=True, in_grace=True) == []
            due = deadlines.due(conn, height(112), 10, urgent=True, in_grace=True)
            assert due == [(channel_id, at)]

    def test_what_was_held_back_stays_when_a_later_one_has_fired(
        self, db: Database, channel_id: int
    ) -> None:
        with db.transaction() as conn:
            for at in (105, 110):
                deadlines.add(conn, channel_id, self.wake(at))
            deadlines.delete_fired(conn, [(channel_id, height(110))])
            assert deadlines.due(conn, height(130), 10) == [(channel_id, 105)]

    def test_the_lowest_height_comes_first_whoever_it_is_of(
        self, db: Database, channel_id: int
    ) -> None:
        with db.transaction() as conn:
            other = examples.open_channel(conn, 2)
            deadlines.add(conn, channel_id, self.wake(120))
            deadlines.add(conn, other, self.wake(110))
            assert deadlines.due(conn, height(130), 1) == [(other, 110)]

    def test_l13_what_can_not_wait_is_held_back_by_no_other_but_a_reminder_is(
        self, db: Database, channel_id: int
    ) -> None:
        at = height(110)
        waits = WakeAt(at, "an HTLC may wait", Satoshi(5), hard_height=height(112))
        urgent = WakeAt(at, "an HTLC may not", Satoshi(5), hard_height=at, urgent=True)
        with db.transaction() as conn:
            deadlines.add_many(
                conn,
                [(channel_id, waits), (channel_id, urgent), (channel_id, self.wake(110, "told"))],
            )

            def due(tip: int, *, urgent: bool) -> list[tuple[int, BlockHeight]]:
                return deadlines.due(conn, height(tip), 10, urgent=urgent, in_grace=True)

            assert due(110, urgent=True) == [(channel_id, at)]
            assert due(111, urgent=False) == []
            assert due(112, urgent=False) == [(channel_id, at)]

    def test_an_appointment_that_is_made_anew_is_as_it_was_made_last(
        self, db: Database, channel_id: int
    ) -> None:
        at, reason = height(110), "an HTLC is due"
        with db.transaction() as conn:
            for value, hard in ((7, 118), (5, 112), (6, 115)):
                wake = WakeAt(at, reason, Satoshi(value), hard_height=height(hard), urgent=True)
                deadlines.add(conn, channel_id, wake)
                [found] = deadlines.list_deadlines(conn)
                assert found.value_at_risk_sat == value
                for tip, expected in ((hard - 1, []), (hard, [(channel_id, at)])):
                    due = deadlines.due(conn, height(tip), 10, urgent=True, in_grace=True)
                    assert due == expected

    def test_only_the_clock_that_stops_is_taken_off(self, db: Database, channel_id: int) -> None:
        with db.transaction() as conn:
            other = examples.open_channel(conn, 2)
            for of, at, reason in (
                (channel_id, 110, "one"),
                (channel_id, 110, "two"),
                (channel_id, 120, "one"),
                (other, 110, "one"),
            ):
                deadlines.add(conn, of, WakeAt(height(at), reason))
            deadlines.stop_many(conn, [(channel_id, height(110), "one")])
            left = {(d.channel_id, d.height, d.reason) for d in deadlines.list_deadlines(conn)}
        assert left == {
            (channel_id, 110, "two"),
            (channel_id, 120, "one"),
            (other, 110, "one"),
        }

    def test_of_what_is_settled_only_appointments_stay(self, db: Database, channel_id: int) -> None:
        other_id = db.run(lambda conn: examples.open_channel(conn, 2))
        with db.transaction() as conn:
            for of, at, value in ((channel_id, 110, 7), (channel_id, 120, 0), (other_id, 110, 7)):
                deadlines.add(conn, of, self.wake(at, value=value))
            deadlines.delete_at_stake(conn, [channel_id])
            left = {(due.channel_id, due.height) for due in deadlines.list_deadlines(conn)}
        assert left == {(channel_id, 120), (other_id, 110)}

    def test_listed_by_height_with_what_is_at_risk(self, db: Database, channel_id: int) -> None:
        with db.transaction() as conn:
            self.add(conn, channel_id)
            found = deadlines.list_deadlines(conn, 10)
            later = deadlines.list_deadlines(conn, from_height=111, channel_id=channel_id)
        assert [(d.height, d.reason, d.value_at_risk_sat) for d in found] == [
            (110, "a delay ends", 0),
            (110, "an HTLC is due", 7),
            (120, "an HTLC is due", 5),
        ]
        assert found[0].channel_point == outpoint(1)
        assert [d.height for d in later] == [120]
