"""Reorgs under the watcher: what a block told is taken back when it leaves the chain."""

from __future__ import annotations

from contractcourt.events import SpendConfirmed, SpendUnconfirmed
from tests.chain.devnet_money import fund
from tests.workers.watching import Watched, Watcher, mine, node, reorg, spending
from workers.chain_watcher import Step


def test_what_a_reorg_takes_is_taken_back(court: Watched, watcher: Watcher) -> None:
    channel_id, outpoint = court.funded_channel()
    tx, height = spending(outpoint), mine(court.devnet, spending(outpoint))
    mine(court.devnet, count=2)
    watcher.settle()
    reorg(court.devnet, 3)
    watcher.settle()
    spent, unspent = court.docket(channel_id)
    assert isinstance(spent, SpendConfirmed)
    assert isinstance(unspent, SpendUnconfirmed)
    assert (unspent.outpoint, unspent.txid) == (outpoint, tx.txid())
    assert unspent.block_hash == spent.block_hash
    assert unspent.tip_height == height - 1
    assert court.is_at_tip()


def test_every_channel_that_was_told_hears_of_the_reorg_though_all_have_let_go(
    court: Watched, watcher: Watcher
) -> None:
    outpoint = fund(court.devnet)
    both = [court.channel(), court.channel()]
    for channel_id in both:
        court.watch(channel_id, outpoint)
    watcher.settle()
    mine(court.devnet, spending(outpoint))
    watcher.settle()
    for channel_id in both:
        court.unwatch(channel_id, outpoint)
    reorg(court.devnet, 1)
    watcher.settle()
    for channel_id in both:
        assert [what for what, _ in court.told(channel_id)] == ["spent", "unspent"]


def test_p8_a_hundred_blocks(court: Watched, watcher: Watcher) -> None:
    channel_id, outpoint = court.funded_channel()
    ours, theirs = spending(outpoint), spending(outpoint, pays=98_000)
    first = mine(court.devnet, ours)
    mine(court.devnet, count=99)
    watcher.settle()
    reorg(court.devnet, 100, holding=[theirs])
    watcher.settle()
    assert court.told(channel_id) == [
        ("spent", first),
        ("unspent", first - 1),
        ("spent", first),
    ]
    last = court.docket(channel_id)[-1]
    assert isinstance(last, SpendConfirmed)
    assert last.txid == theirs.txid()


def test_b6_below_the_first_cursor(court: Watched, watcher: Watcher) -> None:
    reorg(court.devnet, 20)
    watcher.settle()
    assert court.is_at_tip()


def test_b6_while_the_watcher_is_down(court: Watched, watcher: Watcher) -> None:
    channel_id, outpoint = court.funded_channel()
    height = mine(court.devnet, spending(outpoint))
    watcher.settle()
    watcher.watcher.stand_down()
    reorg(court.devnet, 1)
    reorg(court.devnet, 2, holding=[spending(outpoint)])
    mine(court.devnet, count=5)
    with node(court.devnet) as chain:
        Watcher(court.db, chain).settle()
    assert court.told(channel_id) == [
        ("spent", height),
        ("unspent", height - 1),
        ("spent", height),
    ]


def test_b6_flapping_between_two_tips(court: Watched, watcher: Watcher) -> None:
    """A block that leaves and comes back tells its events again each time."""
    channel_id, outpoint = court.funded_channel()
    watcher.settle()
    height = mine(court.devnet, spending(outpoint))
    with_spend = court.devnet.rpc("getbestblockhash")
    watcher.settle()
    for _ in range(20):
        court.devnet.rpc("invalidateblock", with_spend)
        mine(court.devnet)
        watcher.settle()
        without = court.devnet.rpc("getbestblockhash")
        court.devnet.rpc("invalidateblock", without)
        court.devnet.rpc("reconsiderblock", with_spend)
        watcher.settle()
    back_and_forth = [("unspent", height - 1), ("spent", height)]
    assert court.told(channel_id) == [("spent", height), *back_and_forth * 20]


def test_a_node_that_only_lags_takes_nothing_back(court: Watched, watcher: Watcher) -> None:
    channel_id, outpoint = court.funded_channel()
    height = mine(court.devnet, spending(outpoint))
    mine(court.devnet)
    watcher.settle()
    lost = court.devnet.rpc("getblockhash", height)
    court.devnet.rpc("invalidateblock", lost)
    before = court.cursor
    assert watcher.step() is Step.WAITING
    assert court.cursor == before
    court.devnet.rpc("reconsiderblock", lost)
    assert watcher.step() is Step.RESTED
    assert court.told(channel_id) == [("spent", height)]


def test_a_shorter_chain_that_differs_is_a_reorg(court: Watched, watcher: Watcher) -> None:
    channel_id, outpoint = court.funded_channel()
    height = mine(court.devnet, spending(outpoint))
    mine(court.devnet, count=4)
    watcher.settle()
    court.devnet.rpc("invalidateblock", court.devnet.rpc("getblockhash", height))
    mine(court.devnet)
    watcher.settle()
    assert court.is_at_tip()
    assert court.told(channel_id) == [("spent", height), ("unspent", height - 1)]
