"""The watcher on a real chain: spends, deadlines, leadership, waiting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest

from chain.bitcoin_core import BitcoinCore
from chain.errors import ChainUnavailable, WrongNetwork
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.effects import SweepOutput
from contractcourt.events import SpendConfirmed
from contractcourt.policy import Policy
from contractcourt.units import BlockHash, Satoshi
from storage import docket, lease, sweep_inputs, sweep_rounds
from storage.database import Connection
from storage.errors import Fenced
from storage.sweep_inputs import Wish
from tests.chain.devnet_money import fund
from tests.storage import examples
from tests.storage.blocked import wait_for_a_blocked_session
from tests.workers.watching import Watched, Watcher, mine, node, spending
from workers.chain_watcher import Step


def test_it_begins_at_the_tip(court: Watched, watcher: Watcher) -> None:
    assert court.is_at_tip()
    assert court.cursor.step == 0
    assert watcher.blocks_told == 0


def test_a_spend_is_told_with_its_block(court: Watched, watcher: Watcher) -> None:
    channel_id, outpoint = court.funded_channel()
    watcher.settle()
    tx = spending(outpoint)
    height = mine(court.devnet, tx)
    mine(court.devnet, count=3)
    watcher.settle()
    [event] = court.docket(channel_id)
    assert isinstance(event, SpendConfirmed)
    assert (event.outpoint, event.txid, event.height) == (outpoint, tx.txid(), height)
    assert event.tx == tx.serialize()
    assert event.block_hash.hex() == court.devnet.rpc("getblockhash", height)
    assert event.tip_height == height
    assert watcher.woken == [channel_id]
    assert watcher.blocks_told > 0


def test_every_channel_that_watches_an_outpoint_is_told(court: Watched, watcher: Watcher) -> None:
    (first, outpoint), second, other = court.funded_channel(), court.channel(), court.channel()
    court.watch(second, outpoint)
    height = mine(court.devnet, spending(outpoint))
    watcher.settle()
    assert court.told(first) == court.told(second) == [("spent", height)]
    assert court.told(other) == []


def test_a_step_of_the_chain_asks_for_rounds_and_waits_for_none(
    court: Watched, watcher: Watcher
) -> None:
    """A worker that is stopped amid a commit keeps what it has locked; a block may not wait."""
    channel_id = court.channel()
    wanted = SweepOutput(examples.contract(1), examples.SWEEP_SCRIPT, budget_sat=Satoshi(9))
    lane = [examples.NODE]

    def waiting() -> list[str]:
        return court.db.run(sweep_rounds.waiting)

    def round_at(step: int, *meanwhile: Callable[[], object]) -> bool:
        """Whether it is to look again."""
        claim = court.db.run(lambda conn: sweep_rounds.begin(conn, examples.NODE, uuid4(), 60.0))
        assert claim is not None
        for happens in meanwhile:
            happens()
        return court.db.run(lambda conn: sweep_rounds.end(conn, claim, step))

    def block() -> None:
        mine(court.devnet)
        watcher.settle()

    with court.db.transaction() as conn:
        sweep_rounds.ask(conn, lane)
    assert not round_at(court.cursor.step)
    block()
    assert waiting() == []  # There is nothing to sweep.
    with court.db.transaction() as conn:
        wish = Wish(examples.channel(1), wanted, Policy())
        sweep_inputs.want(conn, [(channel_id, wish)])
    assert waiting() == lane
    with psycopg.connect(court.db.url) as stopped:
        sweep_rounds.ask(stopped, lane)
        block()
        assert court.is_at_tip()
    step = court.cursor.step
    assert round_at(step, block)
    assert waiting() == lane
    assert not round_at(step + 1)
    assert waiting() == []


def test_an_output_spent_in_the_block_that_made_it(court: Watched, watcher: Watcher) -> None:
    parent = spending(fund(court.devnet))
    made = OutPoint.of(parent.txid(), 0)
    channel_id = court.channel()
    court.watch(channel_id, made)
    height = mine(court.devnet, parent, spending(made, pays=98_000))
    watcher.settle()
    assert court.told(channel_id) == [("spent", height)]


def test_b1_without_any_hint_every_block_is_taken_in(court: Watched, watcher: Watcher) -> None:
    channels = [court.funded_channel() for _ in range(3)]
    heights = [mine(court.devnet, spending(outpoint)) for _, outpoint in channels]
    mine(court.devnet, count=230)  # more than one round takes
    watcher.settle()
    assert [court.told(channel_id) for channel_id, _ in channels] == [
        [("spent", height)] for height in heights
    ]
    assert court.is_at_tip()


def test_downtime_is_caught_up_from_the_cursor(court: Watched, watcher: Watcher) -> None:
    channel_id, outpoint = court.funded_channel()
    watcher.settle()
    watcher.watcher.stand_down()
    height = mine(court.devnet, spending(outpoint))
    mine(court.devnet, count=20)
    with node(court.devnet) as chain:
        Watcher(court.db, chain).settle()
    assert court.told(channel_id) == [("spent", height)]


class TestGrace:
    """A watcher that has just started (users_ask L13)."""

    def test_l13_what_can_wait_is_held_back_for_a_while(
        self, court: Watched, watcher: Watcher, chain: BitcoinCore
    ) -> None:
        channel_id = court.channel()
        due = court.cursor.height + 1
        court.wake_at(channel_id, due, hard_height=due + 3)
        watcher.watcher.stand_down()
        mine(court.devnet)
        fresh = Watcher(court.db, chain, grace_seconds=600)
        fresh.settle()
        assert court.told(channel_id) == []
        assert court.deadlines_left() == 1

    def test_l13_no_grace_lasts_beyond_the_hard_height(
        self, court: Watched, watcher: Watcher, chain: BitcoinCore
    ) -> None:
        channel_id = court.channel()
        due = court.cursor.height + 1
        court.wake_at(channel_id, due, hard_height=due + 3)
        watcher.watcher.stand_down()
        fresh = Watcher(court.db, chain, grace_seconds=600)
        mine(court.devnet, count=3)
        fresh.settle()
        assert court.told(channel_id) == []
        mine(court.devnet)
        fresh.settle()
        assert court.told(channel_id) == [("height", due + 3)]

    def test_l13_a_reminder_does_not_take_along_what_is_held_back(
        self, court: Watched, watcher: Watcher, chain: BitcoinCore
    ) -> None:
        """A case that is woken for anything would act on all its HTLCs."""
        channel_id, other = court.channel(), court.channel()
        due = court.cursor.height + 1
        court.wake_at(channel_id, due, "an HTLC is due", hard_height=due + 3)
        court.wake_at(channel_id, due, "another HTLC comes near its height")
        court.wake_at(other, due, "another HTLC comes near its height")
        watcher.watcher.stand_down()
        mine(court.devnet)
        Watcher(court.db, chain, grace_seconds=600).settle()
        assert court.told(channel_id) == []
        assert court.told(other) == [("height", due)]
        assert court.deadlines_left() == 2

    def test_l13_after_the_grace_it_is_told(
        self, court: Watched, watcher: Watcher, chain: BitcoinCore
    ) -> None:
        channel_id = court.channel()
        due = court.cursor.height + 1
        court.wake_at(channel_id, due, hard_height=due + 3)
        watcher.watcher.stand_down()
        mine(court.devnet)
        Watcher(court.db, chain, grace_seconds=0).settle()
        assert court.told(channel_id) == [("height", due)]

    def test_what_cannot_wait_is_not_held_back(
        self, court: Watched, watcher: Watcher, chain: BitcoinCore
    ) -> None:
        channel_id = court.channel()
        court.wake_at(channel_id, court.cursor.height + 1)
        watcher.watcher.stand_down()
        mine(court.devnet)
        Watcher(court.db, chain, grace_seconds=600).settle()
        assert [what for what, _ in court.told(channel_id)] == ["height"]


class TestDeadlines:
    def test_they_fire_at_their_height_and_once(self, court: Watched, watcher: Watcher) -> None:
        channel_id = court.channel()
        height = court.cursor.height
        court.wake_at(channel_id, height + 2)
        court.wake_at(channel_id, height + 2, "another reason")
        court.wake_at(channel_id, height + 50)
        mine(court.devnet)
        watcher.settle()
        assert court.told(channel_id) == []
        mine(court.devnet, count=2)
        watcher.settle()
        assert court.told(channel_id) == [("height", height + 2)]
        assert court.deadlines_left() == 1

    def test_one_set_too_late_fires_without_a_block(self, court: Watched, watcher: Watcher) -> None:
        channel_id = court.channel()
        height = court.cursor.height
        court.wake_at(channel_id, height - 1)
        watcher.step()
        assert court.told(channel_id) == [("height", height)]
        assert watcher.woken == [channel_id]

    def test_more_than_one_commit_holds_fire_in_rounds_of_their_own(
        self, court: Watched, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("workers.watcher.following._MOST_DUE", 3)
        channels = [court.channel() for _ in range(8)]
        for channel_id in channels:
            court.wake_at(channel_id, court.cursor.height + 1)
        height = mine(court.devnet)
        # Three with the block, three in the round after it.
        assert watcher.step() is Step.MOVED
        assert court.deadlines_left() == 2
        watcher.settle()
        assert [court.told(channel_id) for channel_id in channels] == [[("height", height)]] * 8

    def test_the_next_block_does_not_wait_for_all_that_is_due(
        self, court: Watched, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("workers.watcher.following._MOST_DUE", 2)
        for _ in range(9):
            court.wake_at(court.channel(), court.cursor.height + 1)
        mine(court.devnet)
        watcher.step()
        mine(court.devnet)
        assert watcher.step() is Step.MOVED
        assert court.is_at_tip()
        assert court.deadlines_left() == 1


class TestLeadership:
    def test_p7_one_leads_and_the_other_takes_over(
        self, court: Watched, chain: BitcoinCore
    ) -> None:
        fund(court.devnet)
        first, second = Watcher(court.db, chain), Watcher(court.db, chain)
        assert first.settle() is Step.RESTED
        assert second.step() is Step.STANDING_BY
        channel_id, outpoint = court.funded_channel()
        height = mine(court.devnet, spending(outpoint))
        first.watcher.stand_down()
        assert second.settle() is Step.RESTED
        assert first.step() is Step.STANDING_BY
        assert court.told(channel_id) == [("spent", height)]

    def test_p7_a_leader_that_was_paused_writes_nothing(
        self, court: Watched, chain: BitcoinCore
    ) -> None:
        """It loses the lease between reading a block and committing it."""
        fund(court.devnet)
        slow = SlowReader(court.devnet.url)
        paused, other = Watcher(court.db, slow), Watcher(court.db, chain)
        channel_id, outpoint = court.funded_channel()
        paused.settle()
        height = mine(court.devnet, spending(outpoint))
        slow.meanwhile = lambda: _take_over(court)
        before = court.cursor
        with pytest.raises(Fenced):
            paused.step()
        slow.close()
        assert (court.cursor, court.told(channel_id)) == (before, [])
        other.settle()
        assert court.told(channel_id) == [("spent", height)]


class SlowReader(BitcoinCore):
    """Something happens while it reads a block."""

    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def raw_block(self, block_hash: BlockHash) -> bytes:
        raw = super().raw_block(block_hash)
        self.meanwhile()
        return raw


def _take_over(court: Watched) -> None:
    with court.db.transaction() as conn:
        conn.execute("UPDATE leases SET expires_at = '-infinity'")
        assert lease.acquire(conn, lease.CHAIN_WATCHER, uuid4(), 0) is not None


class TestWaiting:
    def test_another_network_is_named(self, court: Watched, chain: BitcoinCore) -> None:
        with pytest.raises(WrongNetwork, match="serves regtest, this court main"):
            Watcher(court.db, chain, network="main").step()

    def test_a_first_start_waits_for_the_node_to_sync(
        self, court: Watched, chain: BitcoinCore
    ) -> None:
        fund(court.devnet)
        court.devnet.rpc("devnet_set_syncing", True)
        watcher = Watcher(court.db, chain)
        assert watcher.step() is Step.WAITING
        court.devnet.rpc("devnet_set_syncing", False)
        assert watcher.settle() is Step.RESTED
        assert court.is_at_tip()

    def test_a_node_that_is_away_is_an_error_that_passes(
        self, court: Watched, watcher: Watcher
    ) -> None:
        channel_id, outpoint = court.funded_channel()
        height = mine(court.devnet, spending(outpoint))
        court.devnet.kill()
        with pytest.raises(ChainUnavailable):
            watcher.step()
        court.devnet.launch()
        watcher.settle()
        assert court.told(channel_id) == [("spent", height)]

    def test_p5_a_broker_that_is_away_stops_nothing(
        self, court: Watched, chain: BitcoinCore
    ) -> None:
        def away(_: Sequence[int]) -> bool:
            return False  # the broker took nothing, as `tasks.wakeups` answers

        channel_id, outpoint = court.funded_channel()
        watcher = Watcher(court.db, chain, wake=away)
        watcher.settle()
        height = mine(court.devnet, spending(outpoint))
        assert watcher.settle() is Step.RESTED
        assert court.told(channel_id) == [("spent", height)]


def test_a_block_locks_the_dockets_of_its_spends_and_deadlines_at_once(
    court: Watched, watcher: Watcher
) -> None:
    with_deadline = court.channel()
    with_spend, outpoint = court.funded_channel()
    watcher.settle()
    height = mine(court.devnet, spending(outpoint))
    court.wake_at(with_deadline, height)
    with ThreadPoolExecutor(1) as pool:
        with court.db.transaction() as conn:
            append(conn, with_deadline, 1)
            walking = pool.submit(watcher.settle)
            wait_for_a_blocked_session(conn)
            # Who waits for the lower docket does not hold the higher one.
            append(conn, with_spend, 1)
        walking.result()
    assert court.told(with_spend)[-1] == ("spent", height)
    assert court.told(with_deadline)[-1] == ("height", height)


def append(conn: Connection, channel_id: int, number: int) -> None:
    event = examples.height(number)
    docket.append(conn, channel_id, event, idempotency_key="a worker's", source="court")
