"""A chain watcher over a real devnet and a real database, and what its tests ask of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from chain.bitcoin_core import BitcoinCore
from chain.devnet.process import DevnetProcess
from chain.view import ChainView
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.effects import WakeAt, WatchOutpoint
from contractcourt.events import Event, HeightReached, SpendConfirmed, SpendUnconfirmed
from contractcourt.units import BlockHeight, Script
from storage import blocks, deadlines, docket, watches
from storage.blocks import Cursor
from storage.database import Database
from tests.chain.devnet_money import ANYONE, fund, spend
from tests.storage import examples
from workers.chain_watcher import ChainWatcher, Step

_MANY_ROUNDS = 400


class Watched:
    """A court's database beside a devnet: channels, their watches, their dockets."""

    def __init__(self, db: Database, devnet: DevnetProcess) -> None:
        self.db = db
        self.devnet = devnet
        self._numbers = iter(range(1, 1_000_000))
        with db.transaction() as conn:
            examples.add_node(conn)

    def channel(self) -> int:
        """A registered channel; it watches nothing yet."""
        with self.db.transaction() as conn:
            return examples.open_channel(conn, next(self._numbers))

    def watch(self, channel_id: int, outpoint: OutPoint, from_height: int | None = None) -> None:
        self.watch_all(channel_id, [outpoint], from_height)

    def watch_all(
        self, channel_id: int, outpoints: Sequence[OutPoint], from_height: int | None = None
    ) -> None:
        height = None if from_height is None else BlockHeight(from_height)
        wanted = [(channel_id, WatchOutpoint(o, Script(ANYONE), height)) for o in outpoints]
        with self.db.transaction() as conn:
            watches.add_many(conn, wanted)

    def unwatch(self, channel_id: int, outpoint: OutPoint) -> None:
        with self.db.transaction() as conn:
            watches.remove(conn, channel_id, outpoint)

    def funded_channel(self) -> tuple[int, OutPoint]:
        """A channel that watches an output in the newest block."""
        channel_id, outpoint = self.channel(), fund(self.devnet)
        self.watch(channel_id, outpoint)
        return channel_id, outpoint

    def wake_at(
        self, channel_id: int, height: int, reason: str = "a test", hard_height: int | None = None
    ) -> None:
        hard = None if hard_height is None else BlockHeight(hard_height)
        with self.db.transaction() as conn:
            wake = WakeAt(BlockHeight(height), reason, hard_height=hard)
            deadlines.add(conn, channel_id, wake)

    def deadlines_left(self) -> int:
        with self.db.transaction() as conn:
            return len(deadlines.list_deadlines(conn))

    def docket(self, channel_id: int) -> list[Event]:
        """What the watcher told this channel, in order."""
        with self.db.transaction() as conn:
            entries = docket.entries(conn, channel_id)
        return [entry.event for entry in entries if entry.source == "chain"]

    def told(self, channel_id: int) -> list[tuple[str, int]]:
        """`docket` in short: ("spent" | "unspent" | "height", height)."""
        short = []
        for event in self.docket(channel_id):
            match event:
                case SpendConfirmed():
                    short.append(("spent", int(event.height)))
                case SpendUnconfirmed():
                    short.append(("unspent", int(event.tip_height)))
                case HeightReached():
                    short.append(("height", int(event.height)))
        return short

    def to_look_back(self) -> int:
        with self.db.transaction() as conn:
            return len(watches.to_look_back(conn, 10_000))

    @property
    def cursor(self) -> Cursor:
        with self.db.transaction() as conn:
            cursor = blocks.cursor(conn)
        assert cursor is not None
        return cursor

    def is_at_tip(self) -> bool:
        best = self.devnet.rpc("getbestblockhash")
        return bool(self.cursor.hash.hex() == best)


class Watcher:
    """One watcher. Its wake-ups are kept in `woken`, the urgent ones in `woken_first` too."""

    def __init__(self, db: Database, chain: ChainView, **options: Any) -> None:
        self.woken: list[int] = []
        self.woken_first: list[int] = []
        self.blocks_told = 0
        options.setdefault("wake", self._wake)
        options.setdefault("network", "regtest")
        self.watcher = ChainWatcher(db, chain, new_block=self._new_block, **options)

    def _wake(self, channel_ids: Sequence[int], *, urgent: bool = False) -> bool:
        self.woken += channel_ids
        if urgent:
            self.woken_first += channel_ids
        return True

    def _new_block(self) -> bool:
        self.blocks_told += 1
        return True

    def step(self) -> Step:
        return self.watcher.step()

    def settle(self) -> Step:
        """Rounds until nothing is left to do; what the last one answered."""
        for _ in range(_MANY_ROUNDS):
            answer = self.step()
            if answer is not Step.MOVED:
                return answer
        raise AssertionError("the watcher never comes to rest")


@contextmanager
def node(devnet: DevnetProcess, **options: Any) -> Iterator[BitcoinCore]:
    """A client of the devnet."""
    with closing(BitcoinCore(devnet.url, **options)) as chain:
        yield chain


def mine(devnet: DevnetProcess, *txs: Transaction, count: int = 1) -> int:
    """Blocks with these transactions and no others in the first; the new height."""
    devnet.rpc("devnet_mine", count, [tx.serialize().hex() for tx in txs])
    return int(devnet.rpc("getblockcount"))


def reorg(
    devnet: DevnetProcess,
    depth: int,
    *,
    length: int | None = None,
    keep: bool = False,
    holding: Iterable[Transaction] = (),
) -> None:
    """Replace the newest blocks; `holding` stand in the first new one."""
    raw = [tx.serialize().hex() for tx in holding]
    devnet.rpc("devnet_reorg", depth, depth + 1 if length is None else length, keep, raw)


def spending(outpoint: OutPoint, pays: int = 99_000) -> Transaction:
    return spend(outpoint, pays=pays)
