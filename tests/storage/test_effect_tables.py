"""Outbox, broadcasts, force closes, alarms and the vault."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import msgspec
import psycopg
import pytest

from contractcourt.alarms import AlarmKind
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.case import State
from contractcourt.contract import ContractStage
from contractcourt.effects import (
    AskLocalPoint,
    NotifyNode,
    PublishHtlcTransaction,
    SweepOutput,
)
from contractcourt.events import PublishOutcome
from contractcourt.policy import Policy
from contractcourt.units import (
    BlockHeight,
    FeeratePerKw,
    HexBytes,
    Satoshi,
    Txid,
    WeightUnits,
)
from storage import (
    alarms,
    blocks,
    broadcasts,
    cases,
    channels,
    contracts,
    force_closes,
    outbox,
    settling,
    spends,
    sweep_inputs,
    sweep_progress,
    sweep_rounds,
    vault,
)
from storage.broadcasts import Broadcast, BroadcastState
from storage.database import Connection, Database
from storage.force_closes import ForceCloseRow
from storage.outbox import OutboxRow
from storage.signed import Price, Signed, SpentInput, store
from storage.sweep_inputs import StoredSweep, Wish
from tests.legible import all_of
from tests.storage import examples
from tests.storage.examples import block_hash, outpoint, txid
from tests.storage.plans import plan

HTLC_TIMEOUT = PublishHtlcTransaction(examples.contract(5), HexBytes(b"\x02"))

PRICE = Price(Satoshi(100), WeightUnits(400), FeeratePerKw(250))

PAUSE = """
    SELECT extract(epoch FROM due_at - clock_timestamp())::float8 FROM outbox WHERE id = %(id)s
"""


def notice(number: int) -> NotifyNode:
    return NotifyNode("channel.closing", {"number": number})


def dies_before_commit(conn: Connection, work: Callable[[Connection], None]) -> None:
    work(conn)
    conn.execute("SELECT 1 / 0")


class TestOutbox:
    def test_effects_are_taken_once_until_sent(self, db: Database, channel_id: int) -> None:
        with db.transaction() as conn:
            ids = outbox.put_many(
                conn,
                [
                    (channel_id, HTLC_TIMEOUT),
                    (channel_id, AskLocalPoint(7)),
                    (channel_id, AskLocalPoint(8)),
                ],
            )
        assert ids == sorted(ids)
        with db.transaction() as one, db.transaction() as two:
            taken = all_of(OutboxRow, outbox.take(one, ids))
            assert [(row.id, row.effect) for row in taken] == [
                (ids[0], HTLC_TIMEOUT),
                (ids[1], AskLocalPoint(7)),
                (ids[2], AskLocalPoint(8)),
            ]
            assert outbox.take(two, ids) == []
            outbox.mark_sent_many(one, ids[:2])
        with db.transaction() as conn:
            assert [row.id for row in outbox.take(conn, ids)] == ids[2:]
            assert outbox.take(conn, ids, kinds=["publish_htlc_transaction"]) == []

    def test_all_that_is_asked_for_by_name_is_taken(self, db: Database, channel_id: int) -> None:
        with db.transaction() as conn:
            ids = outbox.put_many(conn, [(channel_id, AskLocalPoint(n)) for n in range(250)])
            assert [row.id for row in outbox.take(conn, ids)] == ids

    def test_a_failed_one_waits_and_is_found_again(self, db: Database, channel_id: int) -> None:
        with db.transaction() as conn:
            failed = outbox.put_many(conn, [(channel_id, HTLC_TIMEOUT)])[0]
            assert outbox.stale(conn, 0, 10) == [(failed, "publish_htlc_transaction")]
            outbox.mark_unanswered(conn, failed, "the signer is away")
            assert outbox.stale(conn, 0, 10) == []
            # Asked for by name it is tried at once.
            [taken] = all_of(OutboxRow, outbox.take(conn, [failed]))
            assert taken.attempts == 1

    def test_what_is_due_longest_is_found_first(self, db: Database, channel_id: int) -> None:
        """However many come after it, it has its turn."""
        with db.transaction() as conn:
            ids = outbox.put_many(conn, [(channel_id, AskLocalPoint(n)) for n in range(3)])
            again = "UPDATE outbox SET due_at = due_at - interval '1 hour' WHERE id = %s"
            conn.execute(again, [ids[1]])
            found = [outbox_id for outbox_id, _ in outbox.stale(conn, 0, 2)]
        assert found == [ids[1], ids[0]]

    @pytest.mark.parametrize(
        ("mark", "longest"),
        [
            (outbox.mark_refused, outbox.LONGEST_WAIT_SECONDS),
            (outbox.mark_unanswered, outbox.AWAY_SECONDS),
        ],
    )
    def test_pauses_grow_to_what_the_failure_says(
        self,
        db: Database,
        channel_id: int,
        mark: Callable[[Connection, int, str], None],
        longest: float,
    ) -> None:
        with db.transaction() as conn:
            failed = outbox.put_many(conn, [(channel_id, HTLC_TIMEOUT)])[0]
            pauses = []
            for _ in range(14):
                mark(conn, failed, "not now")
                [(pause,)] = conn.execute(PAUSE, {"id": failed}).fetchall()
                pauses.append(round(pause))
        assert pauses == [min(2**attempt, longest) for attempt in range(14)]

    def test_letters_are_left_to_those_who_send_them(self, db: Database, channel_id: int) -> None:
        with db.transaction() as conn:
            letters = outbox.put_many(conn, [(channel_id, notice(1))])
            assert outbox.stale(conn, 0, 10) == []
            assert outbox.take(conn, letters) == []
            assert len(outbox.unsent(conn, channel_id)) == 1

    def test_c10_an_effect_is_stored_with_its_case_or_not_at_all(
        self, db: Database, channel_id: int
    ) -> None:
        def decide(conn: Connection) -> None:
            held = cases.lock_one(conn, channel_id)
            outbox.put_many(conn, [(channel_id, HTLC_TIMEOUT)])
            cases.store(conn, held)

        with pytest.raises(psycopg.errors.DivisionByZero), db.transaction() as conn:
            dies_before_commit(conn, decide)
        with db.transaction() as conn:
            assert outbox.unsent(conn, channel_id) == []
        # Committed, and the process died before it could publish a wake-up.
        with db.transaction() as conn:
            decide(conn)
        with db.transaction() as conn:
            assert [kind for _, kind in outbox.stale(conn, 0, 10)] == ["publish_htlc_transaction"]


class TestBroadcasts:
    def insert(
        self,
        conn: Connection,
        channel_id: int,
        number: int,
        *spent: int,
        purpose: str = "commitment",
    ) -> Broadcast:
        inputs = [SpentInput(outpoint(each), channel_id, Satoshi(10)) for each in spent]
        raw_tx = HexBytes(b"raw")
        return store(conn, Signed(channel_id, purpose, txid(number), raw_tx, inputs, PRICE))

    def spend(self, conn: Connection, channel_id: int, spent: int, by: Txid, block: int) -> None:
        spends.record(
            conn, channel_id, outpoint(spent), by, HexBytes(b"x"), BlockHeight(7), block_hash(block)
        )

    def states(self, conn: Connection, channel_id: int) -> list[str]:
        return [found.state.value for found in broadcasts.for_channel(conn, channel_id)]

    def test_what_the_node_took_a_moment_ago_is_not_read(
        self, db: Database, channel_id: int
    ) -> None:
        facts = {"node": "alice", "urgent": True, "since": 0, "sweeper": ["sweep"]}
        facts |= {"taken": ["accepted"], "not_taken": ["policy"], "at_rest": 300}
        with db.transaction() as conn:
            conn.execute(
                """
                INSERT INTO broadcasts (channel_id, node, purpose, txid, raw_tx, urgent,
                                        last_outcome, last_attempt_at)
                SELECT %s, 'alice', 'sweep', sha256(number::text::bytea), 'raw', true,
                       'accepted', clock_timestamp()
                FROM generate_series(1, 2000) AS number
                """,
                [channel_id],
            )
            conn.execute("ANALYZE broadcasts")
            found = plan(conn, broadcasts.TO_TEND_OF_CHANGED, facts)
        [read] = [line for line in found.splitlines() if "last_attempt_at <" in line]
        assert "Index Cond" in read, found

    def test_stored_once_with_its_attempts(self, db: Database, channel_id: int) -> None:
        with db.transaction() as conn:
            stored = self.insert(conn, channel_id, 50, 1, 2, purpose=broadcasts.SWEEP)
            assert self.insert(conn, channel_id, 50, 1, 2, purpose=broadcasts.SWEEP) == stored
            assert stored.inputs == (outpoint(1), outpoint(2))
            assert stored.first_attempt_at is None
            broadcasts.record_attempts(conn, [(stored.id, PublishOutcome.FEE_TOO_LOW, "min fee")])
            broadcasts.record_attempts(conn, [(stored.id, PublishOutcome.ACCEPTED, "")])
            found = broadcasts.find(conn, txid(50))
            assert found is not None
            assert (found.attempts, found.last_outcome) == (2, PublishOutcome.ACCEPTED)
            assert [each.id for each in broadcasts.to_tend(conn, "alice")] == [stored.id]
            assert broadcasts.open_ids(conn) == []
            ours = [self.insert(conn, channel_id, number, number) for number in (51, 52)]
            broadcasts.record_attempts(conn, [(ours[0].id, PublishOutcome.ACCEPTED, "")])
            assert broadcasts.open_ids(conn) == [ours[1].id, ours[0].id]
            settling.abandon(conn, [ours[1].id])
            left = broadcasts.open_of(conn, [each.id for each in ours])
            assert [each.id for each in left] == [ours[0].id]

    def test_within_a_block_only_what_changed_is_looked_at_again(
        self, db: Database, channel_id: int
    ) -> None:
        def round_at(step: int) -> tuple[list[int], list[OutPoint]]:
            """Begun, looked, ended: what is to be tended, and what is free."""
            claim = db.run(lambda conn: sweep_rounds.begin(conn, "alice", uuid4(), 60.0))
            assert claim is not None
            since = claim.since(step)
            with db.transaction() as conn:
                out = broadcasts.to_tend(conn, "alice", since=since)
                free = sweep_inputs.free(conn, "alice", since=since)
                sweep_rounds.end(conn, claim, step)
            return [one.id for one in out], [one.outpoint for one in free]

        def ask(*, anew: bool) -> None:
            db.run(lambda conn: sweep_rounds.ask(conn, ["alice"], anew=anew))

        def want(number: int) -> None:
            wish = Wish(examples.channel(1), self.wanted(number), Policy())
            db.run(lambda conn: sweep_inputs.want(conn, [(channel_id, wish)]))
            ask(anew=False)

        want(1)
        want(2)
        with db.transaction() as conn:
            sent = self.insert(conn, channel_id, 50, 1, purpose=broadcasts.SWEEP)
            broadcasts.record_attempts(conn, [(sent.id, PublishOutcome.ACCEPTED, "")])
        assert round_at(7) == ([sent.id], [outpoint(2)])
        ask(anew=False)
        assert round_at(7) == ([], [])
        want(1)
        assert round_at(7) == ([sent.id], [])
        # Wanted in a transaction that ends after the round that follows has begun.
        with psycopg.connect(db.url) as slow:
            wish = Wish(examples.channel(1), self.wanted(3), Policy())
            sweep_inputs.want(slow, [(channel_id, wish)])
            ask(anew=False)
            assert round_at(7) == ([], [])
            slow.commit()
        ask(anew=False)
        assert round_at(7) == ([], [outpoint(3)])
        ask(anew=True)
        assert round_at(7) == ([sent.id], [outpoint(2), outpoint(3)])
        ask(anew=False)
        assert round_at(8) == ([sent.id], [outpoint(2), outpoint(3)])
        with db.transaction() as conn:
            broadcasts.record_attempts(conn, [(sent.id, PublishOutcome.FEE_TOO_LOW, "min fee")])
        ask(anew=False)
        assert round_at(8) == ([sent.id], [])

    def wanted(self, number: int) -> SweepOutput:
        return SweepOutput(examples.contract(number), examples.SWEEP_SCRIPT, budget_sat=Satoshi(9))

    def test_what_is_free_is_read_to_the_end_however_much_of_it_stays(
        self, db: Database, channel_id: int
    ) -> None:
        def page(after: StoredSweep | None) -> list[StoredSweep]:
            return all_of(
                StoredSweep,
                db.run(lambda conn: sweep_inputs.free(conn, "alice", after=after, limit=2)),
            )

        for number in range(5):
            wish = Wish(examples.channel(1), self.wanted(number), Policy())
            with db.transaction() as conn:
                sweep_inputs.want(conn, [(channel_id, wish)])
        first = page(None)
        # What was taken meanwhile leaves no gap behind it.
        db.run(lambda conn: sweep_progress.give_up(conn, first[0].outpoint, "never pays"))
        pages = [first, second := page(first[-1]), third := page(second[-1])]
        assert [[stored.outpoint for stored in each] for each in pages] == [
            [outpoint(0), outpoint(1)],
            [outpoint(2), outpoint(3)],
            [outpoint(4)],
        ]
        assert page(third[-1]) == []

    def test_what_was_dropped_begins_anew_when_it_is_wanted_again(
        self, db: Database, channel_id: int
    ) -> None:
        """As by a reorg: a curve that began before it would be at its end too early."""
        wish = Wish(examples.channel(1), self.wanted(1), Policy())

        def want(conn: Connection, height: int) -> tuple[BlockHeight, bool, str | None]:
            conn.execute("UPDATE chain_cursor SET height = %s", (height,))
            sweep_inputs.want(conn, [(channel_id, wish)])
            [row] = sweep_inputs.of_channel(conn, channel_id)
            return row.started_height, row.alone, row.reason

        with db.transaction() as conn:
            blocks.init_cursor(conn, BlockHeight(100), block_hash(100))
            assert want(conn, 100) == (100, False, None)
            sweep_progress.set_free(conn, [outpoint(1)], alone=True)
            sweep_progress.note(conn, {outpoint(1): "it is contested"})
            assert want(conn, 110) == (100, True, "it is contested")
            sweep_inputs.keep_only(conn, [(channel_id, ())])
            assert want(conn, 120) == (120, False, None)

    def test_l7_what_was_offered_once_is_remembered_when_less_is_sent(
        self, db: Database, channel_id: int
    ) -> None:
        """As when the fee wallet is short: the next offer does not begin from there."""
        wish = Wish(examples.channel(1), self.wanted(1), Policy())
        with db.transaction() as conn:
            sweep_inputs.want(conn, [(channel_id, wish)])
            for sent in (900, 500):
                sweep_progress.offered(conn, {outpoint(1): FeeratePerKw(sent)})
            [row] = sweep_inputs.of_channel(conn, channel_id)
        assert row.feerate_per_kw == 900

    def test_a_forgotten_sweep_is_looked_for_in_court_alone(
        self, db: Database, channel_id: int
    ) -> None:
        with db.transaction() as conn:
            channels.mark_closed_many(conn, [(channel_id, examples.closed())])
            examples.set_state(conn, channel_id, State.CONTRACT_CLOSED)
            waiting = [examples.contract(n, ContractStage.SWEEPING) for n in (1, 2)]
            contracts.replace(conn, channel_id, (*waiting, examples.contract(3)))
            wish = Wish(examples.channel(1), self.wanted(1), Policy())
            sweep_inputs.want(conn, [(channel_id, wish)])
            assert sweep_inputs.forgotten(conn, 10) == [(channel_id, outpoint(2))]
            found = plan(conn, sweep_inputs.FORGOTTEN, {"limit": 10})
        assert "using channels_by_state on channels" in found, found
        assert "Index Cond: (channel_id = h.id)" in found, found

    def test_what_is_free_is_summed_as_it_is_listed(self, db: Database, channel_id: int) -> None:
        def wish(number: int) -> Wish:
            # Every second one has a deadline: it is swept in rounds of its own.
            deadline = BlockHeight(900) if number % 2 else None
            effect = msgspec.structs.replace(self.wanted(number), deadline=deadline)
            return Wish(examples.channel(1), effect, Policy())

        with db.transaction() as conn:
            assert sweep_inputs.sum_free(conn, "alice") == (0, 0)
            sweep_inputs.want(conn, [(channel_id, wish(number)) for number in range(8)])
            self.insert(conn, channel_id, 50, 1, purpose=broadcasts.SWEEP)
            self.spend(conn, channel_id, 2, txid(51), block=1)
            sweep_progress.quarantine(conn, outpoint(3), "cannot be signed")
            listed = [
                each.input.value_sat
                for urgent in (True, False)
                for each in all_of(StoredSweep, sweep_inputs.free(conn, "alice", urgent=urgent))
            ]
            assert sweep_inputs.sum_free(conn, "alice") == (5, 5 * 500_000)
            assert sweep_inputs.sum_free(conn, "alice") == (len(listed), sum(listed))
            assert sweep_inputs.sum_free(conn, "bob") == (0, 0)

    def test_l1_the_chain_settles_and_a_reorg_opens_again(
        self, db: Database, channel_id: int
    ) -> None:
        with db.transaction() as conn:
            for number, spent in ((50, (1,)), (51, (1, 2)), (52, (3,))):
                self.insert(conn, channel_id, number, *spent)
            assert settling.settle(conn) == []
            self.spend(conn, channel_id, 1, txid(50), block=1)
            assert {(each.txid, each.state) for each in settling.settle(conn)} == {
                (txid(50), BroadcastState.CONFIRMED),
                (txid(51), BroadcastState.CONFLICTED),
            }
            assert self.states(conn, channel_id) == ["confirmed", "conflicted", "open"]
            spends.mark_stale(conn, block_hash(1))
            settling.settle(conn)
            assert self.states(conn, channel_id) == ["open", "open", "open"]
            self.spend(conn, channel_id, 1, txid(50), block=1)
            settling.settle(conn)
            spends.mark_stale(conn, block_hash(1))
            self.spend(conn, channel_id, 1, txid(51), block=2)
            settling.settle(conn)
            assert self.states(conn, channel_id) == ["conflicted", "confirmed", "open"]

    def test_of_two_sweeps_a_reorg_opens_the_better_offer(
        self, db: Database, channel_id: int
    ) -> None:
        with db.transaction() as conn:
            low = self.insert(conn, channel_id, 50, 1, purpose=broadcasts.SWEEP)
            settling.abandon(conn, [low.id])
            self.insert(conn, channel_id, 51, 1, purpose=broadcasts.SWEEP)
            # A miner that never heard of the better offer takes the one that was given up.
            self.spend(conn, channel_id, 1, txid(50), block=1)
            settling.settle(conn)
            assert self.states(conn, channel_id) == ["confirmed", "conflicted"]
            spends.mark_stale(conn, block_hash(1))
            settling.settle(conn)
            assert self.states(conn, channel_id) == ["abandoned", "open"]

    def test_one_that_is_outbid_while_its_block_is_stored_counts_as_mined(
        self, db: Database, channel_id: int
    ) -> None:
        """Neither transaction sees what the other one writes."""
        with db.transaction() as conn:
            low = self.insert(conn, channel_id, 50, 1, purpose=broadcasts.SWEEP)
        with db.transaction() as block:
            self.spend(block, channel_id, 1, txid(50), block=1)
            with db.transaction() as conn:
                settling.abandon(conn, [low.id])
                self.insert(conn, channel_id, 51, 1, purpose=broadcasts.SWEEP)
        with db.transaction() as conn:
            settling.settle(conn)
            assert self.states(conn, channel_id) == ["confirmed", "conflicted"]

    def test_what_is_given_up_counts_as_mined_only_by_its_own_spend(
        self, db: Database, channel_id: int
    ) -> None:
        """Not by another's, nor by one that a reorg took back."""
        with db.transaction() as conn:
            other, gone = (self.insert(conn, channel_id, 50 + n, n) for n in (1, 2))
            self.spend(conn, channel_id, 1, txid(60), block=1)
            self.spend(conn, channel_id, 2, txid(52), block=2)
            spends.mark_stale(conn, block_hash(2))
            settling.abandon(conn, [other.id, gone.id])
            assert self.states(conn, channel_id) == ["abandoned", "abandoned"]

    def test_a_better_offer_that_was_given_up_outbids_nothing(
        self, db: Database, channel_id: int
    ) -> None:
        """Else a reorg would leave nobody who takes the output."""
        with db.transaction() as conn:
            low, better = (
                self.insert(conn, channel_id, number, 1, purpose=broadcasts.SWEEP)
                for number in (50, 51)
            )
            settling.abandon(conn, [low.id, better.id])
            self.spend(conn, channel_id, 1, txid(50), block=1)
            spends.mark_stale(conn, block_hash(1))
            settling.settle(conn)
            assert self.states(conn, channel_id) == ["open", "abandoned"]

    def test_an_abandoned_one_stays_so_until_it_is_mined(
        self, db: Database, channel_id: int
    ) -> None:
        with db.transaction() as conn:
            settling.abandon(conn, [self.insert(conn, channel_id, 50, 1).id])
            settling.settle(conn)
            assert self.states(conn, channel_id) == ["abandoned"]
            self.spend(conn, channel_id, 1, txid(50), block=1)
            assert self.states(conn, channel_id) == ["confirmed"]


class TestForceCloses:
    def ask(self, db: Database, channel_id: int, key: str) -> ForceCloseRow:
        with db.transaction() as conn:
            return force_closes.request(
                conn, channel_id, requested_by=key, reason="why not", idempotency_key=key
            )

    def test_p3_one_of_many_requests_is_accepted(self, db: Database, channel_id: int) -> None:
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda n: self.ask(db, channel_id, f"k{n}"), range(16)))
        assert sum(answer.accepted for answer in answers) == 1
        assert len({(answer.requested_at, answer.requested_by) for answer in answers}) == 1

    def test_a_later_request_gets_the_first_ones_time_and_txid(
        self, db: Database, channel_id: int
    ) -> None:
        first = self.ask(db, channel_id, "one")
        with db.transaction() as conn:
            force_closes.set_closing_txid(conn, channel_id, txid(9))
        again, second = self.ask(db, channel_id, "one"), self.ask(db, channel_id, "two")
        assert (first.accepted, again.accepted, second.accepted) == (True, True, False)
        assert second.requested_at == first.requested_at
        assert second.closing_txid == txid(9)

    def test_a_concluded_one_still_counts_and_a_reorg_opens_it(
        self, db: Database, channel_id: int
    ) -> None:
        self.ask(db, channel_id, "one")
        with db.transaction() as conn:
            force_closes.conclude(conn, [channel_id])
        late = self.ask(db, channel_id, "two")
        assert (late.accepted, late.concluded) == (False, True)
        with db.transaction() as conn:
            force_closes.reopen(conn, channel_id)
            found = force_closes.find(conn, channel_id)
        assert found is not None
        assert not found.concluded


class TestAlarms:
    def test_an_open_alarm_is_raised_once(self, db: Database, channel_id: int) -> None:
        with db.transaction() as conn:
            assert alarms.raise_alarm(conn, channel_id, AlarmKind.UNKNOWN_SPEND, "look")
            assert not alarms.raise_alarm(conn, channel_id, AlarmKind.UNKNOWN_SPEND, "look")
            assert alarms.raise_alarm(conn, None, AlarmKind.BLOCK_UNAVAILABLE, "x" * 10_000)
            assert not alarms.raise_alarm(conn, None, AlarmKind.BLOCK_UNAVAILABLE, "x" * 10_000)
            found = alarms.list_open(conn)
            assert [alarm.channel_point for alarm in found] == [outpoint(1), None]
            alarms.clear(conn, [found[0].id])
            alarms.clear_kind(conn, None, AlarmKind.BLOCK_UNAVAILABLE)
            assert alarms.list_open(conn) == []
            assert alarms.raise_alarm(conn, channel_id, AlarmKind.UNKNOWN_SPEND, "look")
            assert len(alarms.list_open(conn, channel_id=channel_id)) == 1

    def test_many_are_raised_as_each_by_itself_is(self, db: Database, channel_id: int) -> None:
        with db.transaction() as conn:
            other = examples.open_channel(conn, 2)
            assert alarms.raise_alarm(conn, channel_id, AlarmKind.UNKNOWN_SPEND, "look")
            raised = [
                (channel_id, None, AlarmKind.UNKNOWN_SPEND, "look"),
                (channel_id, None, AlarmKind.UNKNOWN_SPEND, "look again"),
                (other, None, AlarmKind.UNKNOWN_SPEND, "look"),
                (other, None, AlarmKind.UNKNOWN_SPEND, "look"),
            ]
            assert alarms.raise_many(conn, raised) == 2
            assert alarms.raise_many(conn, []) == 0
            found = [(alarm.channel_point, alarm.message) for alarm in alarms.list_open(conn)]
        assert sorted(found) == sorted(
            [(outpoint(1), "look"), (outpoint(1), "look again"), (outpoint(2), "look")]
        )

    @pytest.mark.parametrize(
        ("of", "found_by"),
        [
            ({"channel_id": 3, "node": None}, "(channel_id = '3'::smallint) AND (node IS NULL)"),
            ({"channel_id": None, "node": "alice"}, "(channel_id IS NULL) AND (node = 'alice'"),
            ({"channel_id": None, "node": None}, "(channel_id IS NULL) AND (node IS NULL)"),
        ],
    )
    def test_one_is_found_however_many_others_there_are(
        self, db: Database, of: dict[str, object], found_by: str
    ) -> None:
        for statement in (alarms.OPEN, alarms.CLEAR_KIND):
            with db.transaction() as conn:
                found = plan(conn, statement, {"kind": AlarmKind.NOT_WORTH_SWEEPING, **of})
            assert f"Index Cond: ({found_by}" in found, found

    def test_two_who_find_out_at_once_raise_one_alarm(self, db: Database, channel_id: int) -> None:
        def keep(words: str) -> None:
            kind = AlarmKind.NOT_SIGNED
            db.run(lambda conn: alarms.keep_raised(conn, channel_id, kind, words))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(keep, [f"output {number}" for number in range(24)]))
        with db.transaction() as conn:
            [alarm] = alarms.list_open(conn, channel_id=channel_id)
            # As a version before this one may have left it.
            alarms.raise_alarm(conn, channel_id, AlarmKind.NOT_SIGNED, "output 24")
        keep("output 24")
        with db.transaction() as conn:
            [left] = alarms.list_open(conn, channel_id=channel_id)
        assert (left.id, left.message) == (alarm.id, "output 24")


class TestVault:
    def test_p3_the_first_recorded_commitment_wins(self, db: Database) -> None:
        def sign(number: int) -> Txid:
            with db.transaction() as conn:
                return vault.record_signed_commitment(conn, outpoint(1), txid(number))

        with ThreadPoolExecutor(8) as pool:
            winners = set(pool.map(sign, range(1, 17)))
        assert len(winners) == 1
        with db.transaction() as conn:
            assert vault.signed_commitment(conn, outpoint(1)) in winners
            assert vault.signed_commitment(conn, outpoint(2)) is None

    def test_sealed_secrets(self, db: Database) -> None:
        with db.transaction() as conn:
            assert vault.put_sealed(conn, "root:alice", b"sealed")
            assert not vault.put_sealed(conn, "root:alice", b"sealed anew")
            assert vault.get_sealed(conn, "root:alice") == b"sealed"
            assert vault.get_sealed(conn, "root:bob") is None
