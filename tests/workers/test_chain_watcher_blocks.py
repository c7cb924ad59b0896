"""How the watcher reads blocks, and what it does about one that it can't read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from chain.bitcoin_core import BitcoinCore
from chain.devnet.process import DevnetProcess
from storage import alarms
from storage.database import Database
from tests.chain.devnet_money import fund
from tests.chain.overheard import Overheard
from tests.workers.watching import Watched, Watcher, mine, node, spending
from workers.chain_watcher import Step


@pytest.fixture
def court(db: Database, devnet: DevnetProcess) -> Watched:
    fund(devnet)
    return Watched(db, devnet)


@pytest.fixture
def wire(devnet: DevnetProcess) -> Iterator[Overheard]:
    with Overheard(devnet.url) as wire:
        yield wire


@pytest.fixture
def chain(wire: Overheard) -> Iterator[BitcoinCore]:
    with closing(BitcoinCore(wire.url)) as chain:
        yield chain


def open_alarms(court: Watched) -> list[tuple[str, str]]:
    with court.db.transaction() as conn:
        return [(alarm.kind, alarm.message) for alarm in alarms.list_open(conn)]


def block_hash(court: Watched, height: int) -> str:
    return str(court.devnet.rpc("getblockhash", height))


def test_b2_blocks_are_read_as_bytes(court: Watched, wire: Overheard, chain: BitcoinCore) -> None:
    watcher = Watcher(court.db, chain)
    channel_id, outpoint = court.funded_channel()
    watcher.settle()
    wire.calls.clear()
    height = mine(court.devnet, spending(outpoint))
    watcher.settle()
    assert court.told(channel_id) == [("spent", height)]
    assert wire.methods() == {"getblockchaininfo", "getblockhash", "rest"}


def test_b2_without_rest_blocks_are_read_as_hex(court: Watched, wire: Overheard) -> None:
    with closing(BitcoinCore(wire.url, rest="off")) as chain:
        watcher = Watcher(court.db, chain)
        channel_id, outpoint = court.funded_channel()
        watcher.settle()
        height = mine(court.devnet, spending(outpoint))
        watcher.settle()
    assert court.told(channel_id) == [("spent", height)]
    assert wire.named("getblock") == [[block_hash(court, height), 0]]
    assert "rest" not in wire.methods()


def test_b4_an_unreadable_block_is_named_and_never_skipped(
    court: Watched, chain: BitcoinCore
) -> None:
    watcher = Watcher(court.db, chain)
    channel_id, outpoint = court.funded_channel()
    watcher.settle()
    height = mine(court.devnet, spending(outpoint))
    mine(court.devnet, count=2)
    broken = {"code": -1, "message": "Can't read block from disk"}
    court.devnet.rpc("devnet_set_fault", method="rest", calls=1, http_status=404)
    court.devnet.rpc("devnet_set_fault", "getblock", 1, broken)
    assert watcher.step() is Step.RESTED
    assert court.cursor.height == height - 1
    [(kind, message)] = open_alarms(court)
    assert kind == "block_unavailable"
    assert block_hash(court, height) in message
    assert f"height {height}" in message
    watcher.step()  # the pause
    watcher.settle()
    assert court.told(channel_id) == [("spent", height)]
    assert court.is_at_tip()
    assert open_alarms(court) == []


def test_b4_a_damaged_block_is_named_too(court: Watched, chain: BitcoinCore) -> None:
    watcher = Watcher(court.db, chain)
    watcher.settle()
    height = mine(court.devnet)
    raw = court.devnet.rpc("getblock", block_hash(court, height), 0)
    court.devnet.rpc("devnet_set_fault", method="rest", calls=1, http_status=404)
    court.devnet.rpc("devnet_set_fault", method="getblock", calls=1, result=raw[:-8])
    watcher.step()
    assert court.cursor.height == height - 1
    [(_, message)] = open_alarms(court)
    assert block_hash(court, height) in message


def test_b4_another_block_than_asked_for_is_refused(court: Watched, chain: BitcoinCore) -> None:
    watcher = Watcher(court.db, chain)
    watcher.settle()
    height = mine(court.devnet)
    other = court.devnet.rpc("getblock", block_hash(court, height - 3), 0)
    court.devnet.rpc("devnet_set_fault", method="rest", calls=1, http_status=404)
    court.devnet.rpc("devnet_set_fault", method="getblock", calls=1, result=other)
    watcher.step()
    assert court.cursor.height == height - 1


def test_b4_looking_back_stops_at_an_unreadable_block_and_goes_on_from_it(
    court: Watched, chain: BitcoinCore
) -> None:
    outpoint = fund(court.devnet)
    height = mine(court.devnet, spending(outpoint))
    mine(court.devnet, count=5)
    watcher = Watcher(court.db, chain)
    watcher.settle()
    channel_id = court.channel()
    court.watch(channel_id, outpoint, height)
    broken = {"code": -1, "message": "Can't read block from disk"}
    court.devnet.rpc("devnet_set_fault", method="rest", calls=1, http_status=404)
    court.devnet.rpc("devnet_set_fault", "getblock", 1, broken)
    watcher.step()
    [(kind, message)] = open_alarms(court)
    assert kind == "look_back_blocked"
    assert block_hash(court, height + 5) in message
    assert court.told(channel_id) == []
    watcher.step()  # the pause
    watcher.settle()
    assert court.told(channel_id) == [("spent", height)]
    assert open_alarms(court) == []


def test_b5_pruned_blocks_are_fetched_from_peers(
    court: Watched, wire: Overheard, chain: BitcoinCore
) -> None:
    watcher = Watcher(court.db, chain)
    channel_id, outpoint = court.funded_channel()
    watcher.settle()
    height = mine(court.devnet, spending(outpoint))
    tip = mine(court.devnet, count=3)
    court.devnet.rpc("devnet_prune", tip)
    assert watcher.step() is Step.RESTED
    assert open_alarms(court)[0][0] == "block_unavailable"
    for _ in range(20):
        watcher.step()
    assert court.is_at_tip()
    assert court.told(channel_id) == [("spent", height)]
    asked = [params[0] for params in wire.named("getblockfrompeer")]
    assert asked == [block_hash(court, at) for at in range(height, tip)]
    assert open_alarms(court) == []


def test_b5_a_block_that_nobody_has_is_not_asked_for_in_a_loop(
    court: Watched, wire: Overheard, chain: BitcoinCore
) -> None:
    watcher = Watcher(court.db, chain)
    watcher.settle()
    wanted = mine(court.devnet)
    tip = mine(court.devnet)
    court.devnet.rpc("devnet_prune", tip)
    court.devnet.rpc("devnet_set_fault", method="getpeerinfo", calls=1000, result=[])
    late = court.channel()
    court.wake_at(late, wanted - 1)
    for _ in range(200):
        watcher.step()
    # Tries in rounds 1, 3, 6, 11, 20, 37, 70, 135, 200: each pause twice the one before.
    assert len(wire.named("getblock")) == 9
    assert court.cursor.height == wanted - 1
    assert len(open_alarms(court)) == 1
    assert court.told(late) == [("height", wanted - 1)]  # deadlines go on


def test_b1_lost_announcements_change_nothing(court: Watched, devnet: DevnetProcess) -> None:
    channels = [court.funded_channel() for _ in range(4)]
    with node(devnet) as chain:
        watcher = Watcher(court.db, chain)
        watcher.settle()
        heights = []
        for number, (_, outpoint) in enumerate(channels):
            heights.append(mine(devnet, spending(outpoint)))
            if number % 2:  # every second announcement is lost
                watcher.settle()
        watcher.settle()
    assert [court.told(channel_id) for channel_id, _ in channels] == [
        [("spent", height)] for height in heights
    ]
