"""Spends from before an outpoint was watched: looked for once, when the watch is new.

First Postgres (another case may have seen it), then the UTXO set: an outpoint that is still there
was not spent. Only for the others the chain is searched, a slice of blocks each round, so that
new blocks never wait for old ones. Where an outpoint was made is known of most, and the search is
short; it does not wait for one that nobody dated, which is long, and may end at a block that the
node has pruned. What was found before such a block is told, and what came since is searched for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import structlog

from chain.view import ChainView
from contractcourt.alarms import AlarmKind
from contractcourt.units import BlockHash, BlockHeight
from storage import alarms, lease, spends, watches
from storage.blocks import Cursor
from storage.database import Database
from storage.spends import ConfirmedSpend
from storage.watches import Watch
from tasks.crash_points import CrashPoint, reach
from workers.watcher.following import record_earlier_spends
from workers.watcher.search import Search
from workers.watcher.unreadable import Obstacle, UnreadableBlock
from workers.watcher.watchlist import Watchlist

_log = structlog.get_logger()

_WATCHES_A_ROUND = 2_000
_BLOCKS_A_ROUND = 50


class _Lane:
    """Searches of one length, one at a time, and the watches that wait for the next."""

    def __init__(self, obstacle: Obstacle) -> None:
        self.obstacle = obstacle
        self.waiting: dict[int, Watch] = {}
        self.search: Search | None = None

    @property
    def ids(self) -> set[int]:
        """Of all its watches."""
        return {*self.waiting, *(self.search.watched if self.search else ())}

    def keep_only(self, ids: set[int]) -> None:
        """What was unwatched, or spent under the walk's eyes, needs no search."""
        self.waiting = {one: watch for one, watch in self.waiting.items() if one in ids}
        if self.search is not None:
            self.search.keep_only(ids)


class LookBack:
    """All looking back of one watcher. `step` is its part of a round.

    Args:
        most_blocks: how far to search for an outpoint whose making nobody dated.
        keep: called in long work, to stay the leader.
        wake: called with the channels that have something on their dockets.
    """

    def __init__(
        self,
        db: Database,
        chain: ChainView,
        watchlist: Watchlist,
        *,
        most_blocks: int,
        keep: Callable[[], None],
        wake: Callable[[set[int]], None],
    ) -> None:
        self._db = db
        self._chain = chain
        self._watchlist = watchlist
        self._most_blocks = most_blocks
        self._keep = keep
        self._wake = wake
        self._dated, self._undated = self._lanes = [
            _Lane(Obstacle(db, chain, AlarmKind.LOOK_BACK_BLOCKED)) for _ in range(2)
        ]
        #: Searched for as far as the bound; the next process asks again.
        self._unfound: set[int] = set()

    def step(self, epoch: int, cursor: Cursor) -> bool:
        """Sort out new watches and search a slice; whether more is to be done at once.

        Raises ChainError, psycopg.Error or Fenced; nothing found is lost, it is found again.
        """
        self._sort_out(epoch, cursor)
        more = [self._search_a_slice(lane, epoch, cursor) for lane in self._lanes]
        return any(more)

    def _search_a_slice(self, lane: _Lane, epoch: int, cursor: Cursor) -> bool:
        if lane.waiting and (lane.search is None or lane.obstacle.stands):
            stopped = {} if lane.search is None else lane.search.watched
            asked = [*stopped.values(), *lane.waiting.values()]
            lane.search = Search(asked, cursor, self._most_blocks)
            lane.waiting.clear()
        elif lane.search is None or lane.obstacle.is_waited_for():
            return False
        return self._go_on(lane, lane.search, epoch, cursor)

    def _sort_out(self, epoch: int, cursor: Cursor) -> None:
        """Settle every new watch that needs no search; the others wait for one."""
        under_way = self._dated.ids | self._undated.ids
        with self._db.transaction() as conn:
            limit = _WATCHES_A_ROUND + len(under_way) + len(self._unfound)
            asked = watches.to_look_back(conn, limit)
            # One that is dated by now is searched for anew.
            self._unfound &= {watch.id for watch in asked if watch.from_height is None}
            left = under_way | self._unfound
            new = [watch for watch in asked if watch.id not in left]
            known = spends.find_confirmed(conn, [w.outpoint for w in new]) if new else {}
        # From here on the walk sees these outpoints, so a search may end at the cursor.
        self._watchlist.hold(asked)
        for lane in self._lanes:
            lane.keep_only({watch.id for watch in asked})
        if not new:
            return
        gone = self._gone([watch for watch in new if watch.outpoint not in known])
        if not self._are_best([(cursor.height, cursor.hash)]):
            return  # What is unspent on another chain may be spent on this one.
        for watch in gone:
            lane = self._undated if watch.from_height is None else self._dated
            lane.waiting[watch.id] = watch
        to_search = {watch.id for watch in gone}
        settled = [watch for watch in new if watch.id not in to_search]
        told = [(w.channel_id, known[w.outpoint]) for w in settled if w.outpoint in known]
        self._settle(settled, told, epoch, cursor)

    def _gone(self, watched: Sequence[Watch]) -> list[Watch]:
        """Those whose output is not in the UTXO set although its transaction is mined."""
        missing = self._missing(watched, mempool=False)
        # Made by a transaction that still waits in the mempool: no block can have spent it.
        return self._missing(missing, mempool=True)

    def _missing(self, watched: Sequence[Watch], *, mempool: bool) -> list[Watch]:
        outputs = self._chain.tx_outs([watch.outpoint for watch in watched], mempool=mempool)
        return [watch for watch, output in zip(watched, outputs, strict=True) if output is None]

    def _go_on(self, lane: _Lane, search: Search, epoch: int, cursor: Cursor) -> bool:
        if not self._stands(search):
            lane.search = None
            return True
        try:
            search.go_on(self._chain, _BLOCKS_A_ROUND, self._keep)
        except UnreadableBlock as error:
            lane.obstacle.met(error)
            # It may stand there for good, and what was found above it may have a deadline.
            found = [w for w in search.watched.values() if w.outpoint in search.found]
            self._end(search, found, epoch, cursor)
            return False
        lane.obstacle.passed()
        if search.is_over:
            lane.search = None
            self._end(search, list(search.watched.values()), epoch, cursor)
        return True

    def _stands(self, search: Search) -> bool:
        """No reorg took its beginning, or a block in which it found something; else all is new.

        A chain that changes and comes back meanwhile shows blocks that nobody would take back.
        """
        read = {(spend.height, spend.block_hash) for spend in search.found.values()}
        return self._are_best([(search.since.height, search.since.hash), *read])

    def _are_best(self, read: Sequence[tuple[BlockHeight, BlockHash]]) -> bool:
        """All these blocks are on the node's best chain now."""
        now = self._chain.block_hashes([height for height, _ in read])
        return now == [block_hash for _, block_hash in read]

    def _end(self, search: Search, watched: Sequence[Watch], epoch: int, cursor: Cursor) -> None:
        """Tell what was found for these of its watches; they are not searched for any more."""
        if not self._stands(search):
            return
        told = [
            (w.channel_id, search.found[w.outpoint]) for w in watched if w.outpoint in search.found
        ]
        unfound = [watch for watch in watched if watch.outpoint not in search.found]
        for watch in unfound:
            _log.warning(
                "neither unspent nor seen spent: not on the chain yet, or spent long ago",
                outpoint=str(watch.outpoint),
                channel_id=watch.channel_id,
            )
        undated = [watch for watch in unfound if watch.from_height is None]
        if undated and search.is_bounded:
            self._alarm(self._gone(undated))
        settled = [watch for watch in watched if watch.id not in self._unfound]
        self._settle(settled, told, epoch, cursor)

    def _alarm(self, missing: Sequence[Watch]) -> None:
        """Fundings that may have been spent below the bound: somebody has to say."""
        self._unfound |= {watch.id for watch in missing}
        words = (
            "is neither unspent nor in the mempool, and no block of the last "
            f"{self._most_blocks} spends it: the channel may have been closed before"
        )
        raised = [
            (
                watch.channel_id,
                None,
                AlarmKind.FUNDING_NOT_FOUND,
                f"funding {watch.outpoint} {words}",
            )
            for watch in missing
        ]
        if raised:
            self._db.run(lambda conn: alarms.raise_many(conn, raised))

    def _settle(
        self,
        watched: Iterable[Watch],
        told: Sequence[tuple[int, ConfirmedSpend]],
        epoch: int,
        cursor: Cursor,
    ) -> None:
        """Their past is known: the events and the marks in one commit."""
        ids = [watch.id for watch in watched]
        if not ids:
            return
        with self._db.transaction() as conn:
            lease.hold(conn, lease.CHAIN_WATCHER, epoch)
            record_earlier_spends(conn, told, cursor)
            watches.looked_back(conn, ids)
            reach(CrashPoint.LOOK_BACK_BEFORE_COMMIT)
        reach(CrashPoint.LOOK_BACK_COMMITTED)
        self._wake({channel_id for channel_id, _ in told})
