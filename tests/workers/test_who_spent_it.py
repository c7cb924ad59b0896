"""Who spent this outpoint, and where: the same answer whatever the node can help with (B3)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from chain.bitcoin_core import BitcoinCore
from chain.devnet.process import DevnetProcess
from contractcourt.alarms import AlarmKind
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.events import SpendConfirmed
from contractcourt.units import BlockHash, BlockHeight
from storage import alarms, spends
from storage.database import Database
from tests.chain.devnet_money import fund
from tests.chain.overheard import Overheard
from tests.workers.watching import Watched, Watcher, mine, spending

_FILTERS, _INDEX = "--blockfilterindex", "--txospenderindex"


@pytest.mark.parametrize(
    ("flags", "read_blocks", "asked_filters"),
    [((_INDEX,), 2, False), ((_INDEX, _FILTERS), 2, False), ((_FILTERS,), 2, True), ((), 41, True)],
    ids=["index", "index and filters", "filters only", "neither"],
)
def test_b3_lost_watches_are_found_the_same_with_whatever_the_node_has(
    flags: tuple[str, ...], read_blocks: int, asked_filters: bool, db: Database, tmp_path: Path
) -> None:
    """Two spent in two blocks, one unspent: told with the same block, proved by its bytes."""
    with DevnetProcess(tmp_path, flags=flags) as devnet:
        court = Watched(db, devnet)
        outpoints = [fund(devnet) for _ in range(3)]
        made_at = devnet.rpc("getblockcount") - 2
        first = mine(devnet, spending(outpoints[0]))
        mine(devnet, count=17)
        second = mine(devnet, spending(outpoints[1]))
        mine(devnet, count=made_at + 40 - second)
        with Overheard(devnet.url) as wire, closing(BitcoinCore(wire.url)) as chain:
            watcher = Watcher(court.db, chain)
            watcher.settle()
            ids = [court.channel() for _ in outpoints]
            for channel_id, outpoint in zip(ids, outpoints, strict=True):
                court.watch(channel_id, outpoint, made_at)
            wire.calls.clear()
            watcher.settle()
            assert [court.told(one) for one in ids] == [[("spent", first)], [("spent", second)], []]
            read = [name for name, _ in wire.calls if name.startswith("/rest/")]
            assert len(read) <= read_blocks
            assert bool(wire.named("getblockfilter")) == asked_filters
        for channel_id, outpoint, height in zip(ids, outpoints, (first, second), strict=False):
            [event] = court.docket(channel_id)
            assert isinstance(event, SpendConfirmed)
            with db.transaction() as conn:
                [stored] = spends.list_for(conn, channel_id)
            assert (stored.outpoint, stored.height) == (outpoint, height)
            assert stored.block_hash == event.block_hash
            assert stored.block_hash.hex() == devnet.rpc("getblockhash", height)


def test_b3_an_index_that_names_nothing_is_not_the_last_word(db: Database, tmp_path: Path) -> None:
    """The search then goes on by filters and blocks."""
    with DevnetProcess(tmp_path) as devnet:
        court = Watched(db, devnet)
        outpoint = fund(devnet)
        height = mine(devnet, spending(outpoint))
        mine(devnet, count=5)
        with closing(BlankIndex(devnet.url)) as chain:
            Watcher(court.db, chain).settle()
            channel_id = court.channel()
            court.watch(channel_id, outpoint, height - 1)
            again = Watcher(court.db, chain)
            with db.transaction() as conn:
                conn.execute("UPDATE leases SET expires_at = '-infinity'")
            again.settle()
        assert court.told(channel_id) == [("spent", height)]


def test_l22_a_funding_that_was_spent_long_ago_is_found_once_the_node_has_an_index(
    db: Database, tmp_path: Path
) -> None:
    """As the alarm says: give the node an index, and start the watcher again."""
    with DevnetProcess(tmp_path, flags=(_INDEX,)) as devnet:
        court = Watched(db, devnet)
        outpoint = fund(devnet)
        height = mine(devnet, spending(outpoint))
        mine(devnet, count=30)
        channel_id = court.channel()
        court.watch(channel_id, outpoint)
        with closing(BlankIndex(devnet.url)) as chain:
            Watcher(court.db, chain, look_back_blocks=20).settle()
        with db.transaction() as conn:
            [alarm] = alarms.list_open(conn)
            assert (alarm.channel_id, alarm.kind) == (channel_id, AlarmKind.FUNDING_NOT_FOUND)
            conn.execute("UPDATE leases SET expires_at = '-infinity'")
        with closing(BitcoinCore(devnet.url)) as chain:
            Watcher(court.db, chain, look_back_blocks=20).settle()
        assert court.told(channel_id) == [("spent", height)]


class BlankIndex(BitcoinCore):
    """A node whose index of spenders is there, and empty."""

    def spending_blocks(
        self, outpoints: Sequence[OutPoint]
    ) -> dict[OutPoint, tuple[BlockHeight, BlockHash]] | None:
        del outpoints
        return {}
