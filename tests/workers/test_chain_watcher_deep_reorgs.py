"""Whatever the chain did meanwhile, a court ends as one that only ever saw the chain that won."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import pairwise

import psycopg
import pytest

from chain.bitcoin_core import BitcoinCore
from chain.devnet.process import DevnetProcess
from chain.view import Scan
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.events import SpendConfirmed, SpendUnconfirmed
from contractcourt.units import Script
from storage import alarms, blocks, fee_coins, fee_wallets, spends
from storage.database import Database
from tests.chain.devnet_money import ANYONE, fund
from tests.conftest import url_of
from tests.workers.watching import Watched, Watcher, mine, reorg, spending
from workers import chain_watcher
from workers.chain_watcher import Step

#: Of the real depth there is only this much memory here, so that tests are short.
_MEMORY = 6


@pytest.fixture(autouse=True)
def short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_watcher, "_ANCESTORS", _MEMORY)
    monkeypatch.setattr(blocks, "KEPT_BLOCKS", _MEMORY)


@pytest.fixture
def clean(postgres_url: str, template_database: str, devnet: DevnetProcess) -> Iterator[Watched]:
    """A court that begins when everything is over."""
    name = f"clean_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
        with closing(Database(url_of(postgres_url, name))) as database:
            yield Watched(database, devnet)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Stakes:
    """Channels: one is spent otherwise, one again, one only on the new chain, one never."""

    def __init__(self, court: Watched) -> None:
        self.outpoints = [fund(court.devnet) for _ in range(4)]
        self.ids = [court.channel() for _ in self.outpoints]
        for channel_id, outpoint in zip(self.ids, self.outpoints, strict=True):
            court.watch(channel_id, outpoint)

    def old(self) -> list[Transaction]:
        return [spending(self.outpoints[0]), spending(self.outpoints[1])]

    def new(self) -> list[Transaction]:
        return [
            spending(self.outpoints[0], pays=98_000),
            spending(self.outpoints[1]),
            spending(self.outpoints[2]),
        ]


def stands(court: Watched, ids: list[int]) -> object:
    """All that the court believes of the chain: where it is, and who spent what in which block."""
    with court.db.transaction() as conn:
        cursor = blocks.cursor(conn)
        assert cursor is not None
        found = [
            [(s.outpoint, s.txid, s.height, s.block_hash) for s in spends.list_for(conn, one)]
            for one in ids
        ]
    return cursor.height, cursor.hash, found


def believed(court: Watched, channel_id: int) -> SpendConfirmed | None:
    """What the docket's last word on the outpoint is."""
    last = court.docket(channel_id)[-1:]
    return last[0] if last and isinstance(last[0], SpendConfirmed) else None


def twice_told(court: Watched, channel_id: int) -> bool:
    """A spend is told only when the one before it was taken back."""
    kinds = [isinstance(event, SpendUnconfirmed) for event in court.docket(channel_id)]
    return any(one == next_ for one, next_ in pairwise(kinds))


def while_down(court: Watched, chain: BitcoinCore, stakes: Stakes) -> None:
    """The watcher is down while the last blocks, which it has read, are replaced."""
    watcher = Watcher(court.db, chain)
    watcher.settle()
    mine(court.devnet, *stakes.old())
    mine(court.devnet, count=2)
    watcher.settle()
    watcher.watcher.stand_down()
    reorg(court.devnet, 3, holding=stakes.new())
    mine(court.devnet, count=3)


def deeper_than_memory(court: Watched, chain: BitcoinCore, stakes: Stakes) -> None:
    """The blocks that were read are forgotten, and then they are replaced."""
    watcher = Watcher(court.db, chain)
    watcher.settle()
    mine(court.devnet, *stakes.old())
    mine(court.devnet, count=3 * _MEMORY)
    watcher.settle()
    reorg(court.devnet, 3 * _MEMORY + 1, holding=stakes.new())
    watcher.settle()


def deeper_than_memory_while_down(court: Watched, chain: BitcoinCore, stakes: Stakes) -> None:
    watcher = Watcher(court.db, chain)
    watcher.settle()
    mine(court.devnet, *stakes.old())
    mine(court.devnet, count=3 * _MEMORY)
    watcher.settle()
    watcher.watcher.stand_down()
    reorg(court.devnet, 3 * _MEMORY + 1, holding=stakes.new())
    mine(court.devnet, count=4)


def flapping(court: Watched, chain: BitcoinCore, stakes: Stakes) -> None:
    """Twenty times from one tip to the other; the watcher looks each time."""
    watcher = Watcher(court.db, chain)
    watcher.settle()
    mine(court.devnet, *stakes.old())
    one = court.devnet.rpc("getbestblockhash")
    court.devnet.rpc("invalidateblock", one)
    mine(court.devnet, *stakes.new())
    other = court.devnet.rpc("getbestblockhash")
    for _ in range(20):
        watcher.settle()
        court.devnet.rpc("invalidateblock", other)
        court.devnet.rpc("reconsiderblock", one)
        watcher.settle()
        court.devnet.rpc("invalidateblock", one)
        court.devnet.rpc("reconsiderblock", other)
    mine(court.devnet, count=2)


@pytest.mark.parametrize(
    "tale",
    [while_down, deeper_than_memory, deeper_than_memory_while_down, flapping],
    ids=lambda tale: tale.__name__,
)
def test_b6_the_court_ends_as_after_a_clean_run(
    tale: Callable[[Watched, BitcoinCore, Stakes], None],
    court: Watched,
    clean: Watched,
    chain: BitcoinCore,
) -> None:
    stakes = Stakes(court)
    tale(court, chain, stakes)
    _lead_again(court, chain)
    for outpoint in stakes.outpoints:
        clean.watch(clean.channel(), outpoint)
    assert Watcher(clean.db, chain).settle() is Step.RESTED
    assert stands(court, stakes.ids) == stands(clean, stakes.ids)
    for channel_id in stakes.ids:
        last, alone = believed(court, channel_id), believed(clean, channel_id)
        assert (last is None) == (alone is None)
        if last is not None and alone is not None:
            assert (last.txid, last.height, last.block_hash) == (
                alone.txid,
                alone.height,
                alone.block_hash,
            )
        assert not twice_told(court, channel_id)


def _lead_again(court: Watched, chain: BitcoinCore) -> None:
    """Another process comes, whoever led before."""
    with court.db.transaction() as conn:
        conn.execute("UPDATE leases SET expires_at = '-infinity'")
    assert Watcher(court.db, chain).settle() is Step.RESTED


def test_b6_the_operator_hears_of_a_reorg_below_memory(court: Watched, chain: BitcoinCore) -> None:
    stakes = Stakes(court)
    deeper_than_memory(court, chain, stakes)
    with court.db.transaction() as conn:
        assert [alarm.kind for alarm in alarms.list_open(conn)] == ["reorg_too_deep"]
        assert fee_coins.outpoints(conn) == set()


def test_b6_a_scan_for_coins_that_was_under_way_counts_no_more(
    court: Watched, chain: BitcoinCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows nothing of the blocks that were leapt over, and what was known is forgotten."""
    scan, ended = chain.scan, threading.Event()

    def long_scan(scripts: Sequence[Script]) -> Scan:
        found = scan(scripts)
        ended.wait(30)
        return found

    monkeypatch.setattr(chain, "scan", long_scan)
    watcher = Watcher(court.db, chain)
    mine(court.devnet, count=_MEMORY)
    watcher.settle()
    with court.db.transaction() as conn:
        fee_wallets.put_scripts(conn, "alice", [Script(ANYONE)])
    watcher.settle()
    mine(court.devnet, count=2 * _MEMORY)
    watcher.settle()
    reorg(court.devnet, 2 * _MEMORY)
    again = fund(court.devnet)
    mine(court.devnet, count=2)
    watcher.settle()
    ended.set()
    for _ in range(2_000):
        watcher.step()
        with court.db.transaction() as conn:
            if all(one.scanned for one in fee_wallets.scripts(conn)):
                break
    with court.db.transaction() as conn:
        assert again in fee_coins.outpoints(conn)


def test_b6_below_memory_what_the_new_chain_kept_is_not_told_again(
    court: Watched, chain: BitcoinCore
) -> None:
    """The spend is older than the fork: it was never taken back, and the docket is silent."""
    kept, gone = fund(court.devnet), fund(court.devnet)
    kept_id, gone_id = court.channel(), court.channel()
    court.watch(kept_id, kept)
    court.watch(gone_id, gone)
    watcher = Watcher(court.db, chain)
    watcher.settle()
    height = mine(court.devnet, spending(kept))
    mine(court.devnet, spending(gone))
    mine(court.devnet, count=2 * _MEMORY)
    watcher.settle()
    reorg(court.devnet, 2 * _MEMORY + 1)
    watcher.settle()
    assert court.is_at_tip()
    assert court.told(kept_id) == [("spent", height)]
    assert court.told(gone_id) == [("spent", height + 1), ("unspent", height)]
    mine(court.devnet, spending(gone))
    watcher.settle()
    assert court.told(gone_id)[2:] == [("spent", court.cursor.height)]
