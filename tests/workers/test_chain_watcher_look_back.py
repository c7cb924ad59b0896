"""Outpoints that were spent before anybody watched them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from chain.bitcoin_core import BitcoinCore
from chain.devnet.process import DevnetProcess
from chain.view import ChainView, UnspentOutput
from contractcourt.alarms import AlarmKind
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.effects import WatchOutpoint
from contractcourt.events import SpendConfirmed
from contractcourt.units import BlockHash, BlockHeight, Satoshi, Script, Txid
from storage import alarms, watches
from storage.database import Database
from tests.chain.devnet_money import ANYONE, fund, send, spend
from tests.chain.overheard import Overheard
from tests.workers.watching import Watched, Watcher, mine, node, reorg, spending
from workers.chain_watcher import Step


@pytest.fixture
def wire(devnet: DevnetProcess) -> Iterator[Overheard]:
    with Overheard(devnet.url) as wire:
        yield wire


@pytest.fixture
def watcher(court: Watched, wire: Overheard) -> Iterator[Watcher]:
    with closing(BitcoinCore(wire.url)) as chain:
        yield Watcher(court.db, chain, look_back_blocks=120)


def spent_before(court: Watched, blocks_since: int = 70) -> tuple[OutPoint, int]:
    """An output and the height at which it was spent."""
    outpoint = fund(court.devnet)
    height = mine(court.devnet, spending(outpoint))
    mine(court.devnet, count=blocks_since)
    return outpoint, height


def test_a_spend_from_before_the_watch_is_found(court: Watched, watcher: Watcher) -> None:
    outpoint, height = spent_before(court)
    watcher.settle()
    channel_id = court.channel()
    court.watch(channel_id, outpoint, height - 1)
    watcher.settle()
    [event] = court.docket(channel_id)
    assert isinstance(event, SpendConfirmed)
    assert (event.outpoint, event.height) == (outpoint, height)
    assert event.block_hash.hex() == court.devnet.rpc("getblockhash", height)
    assert event.tip_height == court.cursor.height
    assert watcher.woken == [channel_id]
    assert court.to_look_back() == 0


def test_an_unspent_output_costs_no_block(
    court: Watched, watcher: Watcher, wire: Overheard
) -> None:
    watched = [court.funded_channel() for _ in range(3)]
    watcher.step()
    assert court.to_look_back() == 0
    assert "rest" not in wire.methods()
    assert len(wire.named("gettxout")) == len(watched)


def test_an_output_that_is_not_mined_yet_costs_no_block(
    court: Watched, watcher: Watcher, wire: Overheard
) -> None:
    fund(court.devnet)
    unmined = fund(court.devnet, mine=False)
    channel_id = court.channel()
    court.watch(channel_id, unmined)
    watcher.step()
    assert court.to_look_back() == 0
    assert "rest" not in wire.methods()
    court.devnet.rpc("devnet_mine", 1)
    height = mine(court.devnet, spending(unmined))
    watcher.settle()
    assert court.told(channel_id) == [("spent", height)]


def test_a_spend_in_the_mempool_is_no_spend_yet(court: Watched, watcher: Watcher) -> None:
    channel_id, outpoint = court.funded_channel()
    send(court.devnet, spending(outpoint))
    watcher.settle()
    assert court.told(channel_id) == []
    court.devnet.rpc("devnet_mine", 1)
    watcher.settle()
    assert len(court.told(channel_id)) == 1


def test_without_a_height_the_search_is_bounded(court: Watched, watcher: Watcher) -> None:
    within, height = spent_before(court, 100)
    beyond = fund(court.devnet)
    undated, dated = court.channel(), court.channel()
    long_ago = mine(court.devnet, spending(beyond))
    mine(court.devnet, count=130)
    watcher.settle()
    court.watch(undated, within)
    court.watch(dated, beyond, long_ago)
    watcher.settle()
    assert court.told(undated) == []  # 230 blocks down, with a bound of 120
    assert court.told(dated) == [
        ("spent", long_ago)
    ]  # a known height is searched from, however deep
    assert height < long_ago - 100
    with court.db.transaction() as conn:
        [alarm] = alarms.list_open(conn)
    assert (alarm.channel_id, alarm.kind) == (undated, AlarmKind.FUNDING_NOT_FOUND)
    assert str(within) in alarm.message
    court.watch(undated, within, height)
    watcher.settle()
    assert court.told(undated) == [("spent", height)]  # as when a splice to it is found late


def test_a_funding_that_comes_after_the_search_is_seen_all_the_same(
    court: Watched, watcher: Watcher
) -> None:
    """A node may open a channel before its funding is sent, and send it meanwhile."""
    mine(court.devnet, count=130)
    watcher.settle()
    funding, sent = (spend(fund(court.devnet), pays=99_000) for _ in range(2))
    later, meanwhile = OutPoint.of(funding.txid(), 0), OutPoint.of(sent.txid(), 0)
    opened, quick = court.channel(), court.channel()
    court.watch(opened, later)
    court.watch(quick, meanwhile)
    watcher.step()
    mine(court.devnet, sent)
    watcher.settle()
    with court.db.transaction() as conn:
        assert [alarm.channel_id for alarm in alarms.list_open(conn)] == [opened]
    mine(court.devnet, funding)
    height = mine(court.devnet, spend(later, pays=90_000), spend(meanwhile, pays=90_000))
    watcher.settle()
    assert court.told(opened) == court.told(quick) == [("spent", height)]
    assert court.to_look_back() == 0


def test_new_blocks_do_not_wait_for_a_long_search(court: Watched, watcher: Watcher) -> None:
    old, height = spent_before(court, 110)
    watcher.settle()
    searching, quick = court.channel(), court.funded_channel()
    court.watch(searching, old, height)
    assert watcher.step() is Step.MOVED
    assert court.told(searching) == []  # only the newest slice was read
    new_height = mine(court.devnet, spending(quick[1]))
    watcher.step()
    assert court.told(quick[0]) == [("spent", new_height)]
    watcher.settle()
    assert court.told(searching) == [("spent", height)]
    assert court.told(quick[0]) == [("spent", new_height)]


def test_what_another_channel_saw_is_told_from_the_database(
    court: Watched, watcher: Watcher, wire: Overheard
) -> None:
    first, outpoint = court.funded_channel()
    watcher.settle()
    height = mine(court.devnet, spending(outpoint))
    watcher.settle()
    second = court.channel()
    court.watch(second, outpoint)
    wire.calls.clear()
    watcher.settle()
    assert court.told(first) == court.told(second) == [("spent", height)]
    assert not wire.named("gettxout")


def test_a_watch_whose_transaction_has_a_number_of_before_is_seen_all_the_same(
    court: Watched, watcher: Watcher
) -> None:
    """A standby that took over, or a server that crashed, gives its last numbers once more."""
    court.funded_channel()
    watcher.settle()
    channel_id, outpoint = court.channel(), fund(court.devnet)
    with court.db.transaction() as conn:
        watches.add(conn, channel_id, WatchOutpoint(outpoint, Script(ANYONE)))
        conn.execute("UPDATE watches SET changed_in = '3' WHERE channel_id = %s", (channel_id,))
    watcher.settle()
    assert court.to_look_back() == 0
    height = mine(court.devnet, spending(outpoint))
    watcher.settle()
    assert court.told(channel_id) == [("spent", height)]


def test_a_spend_under_the_walks_eyes_is_told_once(court: Watched, watcher: Watcher) -> None:
    """The watch and its spend come in one round: the walk tells it, looking back must not."""
    fund(court.devnet)
    watcher.settle()
    channel_id, outpoint = court.funded_channel()
    height = mine(court.devnet, spending(outpoint))
    watcher.settle()
    assert court.told(channel_id) == [("spent", height)]


def test_a_case_that_watches_again_is_told_again(court: Watched, watcher: Watcher) -> None:
    """It let the outpoint go and forgot; without a new block in between."""
    channel_id, outpoint = court.funded_channel()
    watcher.settle()
    height = mine(court.devnet, spending(outpoint))
    watcher.settle()
    for _ in range(2):
        court.unwatch(channel_id, outpoint)
        court.watch(channel_id, outpoint)
        watcher.settle()
    assert court.told(channel_id) == [("spent", height)] * 3


def test_a_reorg_during_the_search_loses_nothing(court: Watched, watcher: Watcher) -> None:
    outpoint, height = spent_before(court, 110)
    watcher.settle()
    channel_id = court.channel()
    court.watch(channel_id, outpoint, height)
    watcher.step()
    reorg(court.devnet, 111, holding=[spend(outpoint, pays=98_000)])
    watcher.settle()
    assert court.told(channel_id) == [("spent", height)]
    last = court.docket(channel_id)[-1]
    assert isinstance(last, SpendConfirmed)
    assert last.block_hash.hex() == court.devnet.rpc("getblockhash", height)


class _Flapping:
    """A node that was on another chain for a moment: while one slice of a search was read."""

    def __init__(self, chain: ChainView) -> None:
        self._chain = chain
        self.moment: tuple[int, BlockHash] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)

    def tx_outs(
        self, outpoints: Sequence[OutPoint], *, mempool: bool = False
    ) -> list[UnspentOutput | None]:
        if self.moment is not None:
            return [None for _ in outpoints]  # spent there
        return self._chain.tx_outs(outpoints, mempool=mempool)

    def block_hashes(self, heights: Sequence[BlockHeight]) -> list[BlockHash | None]:
        hashes = self._chain.block_hashes(heights)
        if self.moment is not None and self.moment[0] in heights:
            height, there = self.moment
            hashes[heights.index(BlockHeight(height))] = there
            self.moment = None
        return hashes


def test_b6_a_chain_that_comes_back_during_the_search_leaves_no_spend_of_the_other(
    court: Watched, devnet: DevnetProcess
) -> None:
    outpoint = fund(devnet)
    height = mine(devnet, spending(outpoint))
    elsewhere = BlockHash.parse(devnet.rpc("getblockhash", height))
    reorg(devnet, 1)
    mine(devnet, count=5)
    with node(devnet) as chain:
        flapping = _Flapping(chain)
        watcher = Watcher(court.db, cast(ChainView, flapping))
        watcher.settle()
        flapping.moment = (height, elsewhere)
        channel_id = court.channel()
        court.watch(channel_id, outpoint, height - 1)
        watcher.settle()
        assert flapping.moment is None
        assert court.told(channel_id) == []
        new_height = mine(devnet, spending(outpoint))
        watcher.settle()
    assert court.told(channel_id) == [("spent", new_height)]


class _ElsewhereAtFirst:
    """A node that is on another chain, with nothing spent, when it is first asked of outputs."""

    def __init__(self, chain: ChainView) -> None:
        self._chain = chain
        self._elsewhere = False
        self._asked = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)

    def tx_outs(
        self, outpoints: Sequence[OutPoint], *, mempool: bool = False
    ) -> list[UnspentOutput | None]:
        if not self._asked and outpoints:
            self._asked = self._elsewhere = True
        if self._elsewhere:
            return [UnspentOutput(Satoshi(100_000), Script(ANYONE), 1) for _ in outpoints]
        return self._chain.tx_outs(outpoints, mempool=mempool)

    def block_hashes(self, heights: Sequence[BlockHeight]) -> list[BlockHash | None]:
        if self._elsewhere:
            self._elsewhere = False
            return [BlockHash(bytes(32)) for _ in heights]
        return self._chain.block_hashes(heights)


def test_b6_what_is_unspent_on_another_chain_is_looked_for_on_this_one(
    court: Watched, devnet: DevnetProcess
) -> None:
    outpoint, height = spent_before(court, 5)
    with node(devnet) as chain:
        Watcher(court.db, chain).settle()
        channel_id = court.channel()
        court.watch(channel_id, outpoint, height - 1)
        elsewhere = cast(ChainView, _ElsewhereAtFirst(chain))
        with court.db.transaction() as conn:
            conn.execute("UPDATE leases SET expires_at = '-infinity'")
        watcher = Watcher(court.db, elsewhere)
        for _ in range(5):
            watcher.step()
    assert court.told(channel_id) == [("spent", height)]


def test_an_outpoint_that_is_let_go_is_not_searched_on(
    court: Watched, watcher: Watcher, wire: Overheard
) -> None:
    outpoint, height = spent_before(court, 110)
    watcher.settle()
    channel_id = court.channel()
    court.watch(channel_id, outpoint, height)
    watcher.step()
    court.unwatch(channel_id, outpoint)
    wire.calls.clear()
    watcher.settle()
    assert court.told(channel_id) == []
    assert "rest" not in wire.methods()


def test_block_filters_save_reading_blocks(db: Database, tmp_path: Path) -> None:
    with DevnetProcess(tmp_path, flags=("--blockfilterindex",)) as devnet:
        court = Watched(db, devnet)
        outpoint, height = spent_before(court, 110)
        with Overheard(devnet.url) as wire, node_at(wire.url) as chain:
            watcher = Watcher(court.db, chain)
            watcher.settle()
            channel_id = court.channel()
            court.watch(channel_id, outpoint, height)
            watcher.settle()
            assert court.told(channel_id) == [("spent", height)]
            read = [name for name, _ in wire.calls if name.startswith("/rest/")]
            assert len(read) == 1
            assert len(wire.named("getblockfilter")) == 111


def test_an_outpoint_whose_script_is_not_known_is_found_although_there_are_filters(
    db: Database, tmp_path: Path
) -> None:
    """Channels of an unknown type are watched by their outpoint alone."""
    with DevnetProcess(tmp_path, flags=("--blockfilterindex",)) as devnet:
        court = Watched(db, devnet)
        outpoint, height = spent_before(court, 10)
        with node_at(devnet.url) as chain:
            watcher = Watcher(court.db, chain)
            watcher.settle()
            channel_id = court.channel()
            with db.transaction() as conn:
                watches.add(conn, channel_id, WatchOutpoint(outpoint, Script(b"")))
            watcher.settle()
            assert court.told(channel_id) == [("spent", height)]
            assert court.to_look_back() == 0


def test_a_node_without_filters_finds_the_same(
    court: Watched, watcher: Watcher, wire: Overheard
) -> None:
    outpoint, height = spent_before(court, 110)
    watcher.settle()
    channel_id = court.channel()
    court.watch(channel_id, outpoint, height)
    watcher.settle()
    assert court.told(channel_id) == [("spent", height)]
    assert len(wire.named("getblockfilter")) == 50  # asked once, for one slice, then no more


def test_thousands_of_watches_are_one_round(court: Watched, devnet: DevnetProcess) -> None:
    channel_id = court.channel()
    script = "0020" + "11" * 32
    made = devnet.rpc("devnet_spend", [{"script_hex": script, "amount_sat": 1000}] * 1200)[
        "outpoints"
    ]
    devnet.rpc("devnet_mine", 1)
    court.watch_all(channel_id, [OutPoint.parse(text) for text in made])
    with node(devnet) as chain:
        assert Watcher(court.db, chain).step() is Step.RESTED
    assert court.to_look_back() == 0


def node_at(url: str) -> closing[BitcoinCore]:
    return closing(BitcoinCore(url))


#: Told before its funding is broadcast: nobody can say where it is made.
_NOWHERE = OutPoint.of(Txid(b"\x07" * 32), 0)


@pytest.fixture
def patient(court: Watched) -> Iterator[Watcher]:
    """One that searches as far as in production."""
    with node_at(court.devnet.url) as chain:
        yield Watcher(court.db, chain)


def assert_found_at_once(court: Watched, watcher: Watcher, outpoint: OutPoint, height: int) -> None:
    """Its spend, of a watch that knows where it was made."""
    channel_id = court.channel()
    court.watch(channel_id, outpoint, height - 1)
    for _ in range(2):
        watcher.step()
    assert court.told(channel_id) == [("spent", height)]


def test_a_short_search_does_not_wait_for_a_long_one(court: Watched, patient: Watcher) -> None:
    mine(court.devnet, count=300)
    outpoint, height = spent_before(court, 1)
    patient.settle()
    court.watch(court.channel(), _NOWHERE)
    patient.step()
    assert_found_at_once(court, patient, outpoint, height)
    assert court.to_look_back() == 1


def test_a_search_that_ends_at_a_pruned_block_stops_no_other(
    court: Watched, patient: Watcher
) -> None:
    mine(court.devnet, count=60)
    outpoint, height = spent_before(court, 1)
    court.devnet.rpc("devnet_prune", height - 20)
    patient.settle()
    court.watch(court.channel(), _NOWHERE)
    for _ in range(3):
        patient.step()
    assert_found_at_once(court, patient, outpoint, height)


def pruned_after_a_spend(court: Watched, watcher: Watcher) -> tuple[OutPoint, int]:
    """An output and the height of its spend, twenty blocks above what the node has pruned."""
    mine(court.devnet, count=60)
    outpoint, height = spent_before(court, 1)
    court.devnet.rpc("devnet_prune", height - 20)
    watcher.settle()
    return outpoint, height


def test_what_a_search_found_is_told_although_it_stops_at_a_pruned_block(
    court: Watched, patient: Watcher
) -> None:
    outpoint, height = pruned_after_a_spend(court, patient)
    channel_id = court.channel()
    court.watch(channel_id, outpoint)
    court.watch(court.channel(), _NOWHERE)
    patient.settle()
    assert court.told(channel_id) == [("spent", height)]
    assert patient.woken == [channel_id]
    for _ in range(5):
        patient.step()
    assert court.told(channel_id) == [("spent", height)], "told once"
    assert court.to_look_back() == 1


def test_a_search_that_stopped_at_a_pruned_block_keeps_no_later_watch_waiting(
    court: Watched, patient: Watcher
) -> None:
    outpoint, height = pruned_after_a_spend(court, patient)
    court.watch(court.channel(), _NOWHERE)
    for _ in range(3):
        patient.step()
    channel_id = court.channel()
    court.watch(channel_id, outpoint)
    for _ in range(3):
        patient.step()
    assert court.told(channel_id) == [("spent", height)]
    assert court.to_look_back() == 1
