"""The chain watcher: follows Bitcoin and puts what it sees on the dockets.

Any number may run; the one that holds the lease leads, and every write is fenced by its epoch. A
poll finds everything; a notification from the node only makes it look sooner.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol
from uuid import UUID

import structlog

from chain.errors import ChainError
from chain.view import ChainState, ChainView
from contractcourt.alarms import AlarmKind
from storage import alarms
from storage.blocks import Cursor
from storage.database import Database
from storage.errors import CursorMismatch
from tasks import wakeups
from tasks.crash_points import CrashPoint, reach
from tasks.tracing import span
from workers.watcher import deep_reorg, following
from workers.watcher.coin_parents import CoinParents
from workers.watcher.following import Woken
from workers.watcher.heartbeat import Heartbeat
from workers.watcher.leadership import Leadership
from workers.watcher.look_back import LookBack
from workers.watcher.mempool_look import MempoolLook
from workers.watcher.progress import NotFollowed, Progress
from workers.watcher.second_source import SecondSource
from workers.watcher.standing import Standing, cursor_of
from workers.watcher.tidings import Tidings
from workers.watcher.unreadable import Obstacle, UnreadableBlock
from workers.watcher.wallet_coins import WalletScan
from workers.watcher.watchlist import Watchlist

_log = structlog.get_logger()

#: As deep as a reorg below the first cursor can be followed (promise P8).
_ANCESTORS = 144
#: Blocks connected before the loop looks at anything else.
_BLOCKS_A_ROUND = 200
#: Further behind than this, blocks are reported in hundreds.
_CATCHING_UP = 10
_PROGRESS_EVERY = 100


class Step(Enum):
    """What one round of the watcher did."""

    MOVED = "moved"
    RESTED = "rested"
    STANDING_BY = "standing_by"
    #: The node is not to be followed now: it syncs, lags behind what the court has seen, or is on
    #: a chain with less work than another node's.
    WAITING = "waiting"


class Wake(Protocol):
    """Tells the workers of channels that have something to apply."""

    def __call__(self, channel_ids: Sequence[int], *, urgent: bool = False) -> bool:
        """`urgent`: they may not wait behind others. Answers whether the broker took it."""


class ChainWatcher:
    """One watcher. `step` is one round; `run` repeats it until told to stop.

    Args:
        network: which chain the court serves, in Core's names.
        wake: called after each commit with the channels that have something to apply.
        new_block: called when the chain has moved; for blocks in a row not for each.
        holder: this process's name at the lease; made anew when none is given.
        grace_seconds: after its start, how long a deadline that need not be met at once is held
            back: a peer that has just reconnected may settle by itself (users_ask L13).
        second: another node, whose headers are compared with those of `chain`.
        progress: looks whether anything stands still.
        look_back_blocks: how far to search for an outpoint that was spent before it was watched,
            when nobody knows where it was made.
        stopping: asked between blocks.
    """

    def __init__(
        self,
        db: Database,
        chain: ChainView,
        *,
        network: str,
        wake: Wake = wakeups.wake,
        new_block: Callable[[], bool] = wakeups.new_block,
        lease_seconds: float = 3.0,
        holder: UUID | None = None,
        grace_seconds: float = 0.0,
        second: ChainView | None = None,
        progress: Progress | None = None,
        look_back_blocks: int = 2_016,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._db = db
        self._chain = chain
        self._wake = wake
        self._tidings = Tidings(new_block)
        self._stopping = stopping
        self._leadership = Leadership(db, lease_seconds, holder)
        self._grace_ends = time.monotonic() + grace_seconds
        self._watchlist = Watchlist()
        self._obstacle = Obstacle(db, chain, AlarmKind.BLOCK_UNAVAILABLE)
        self._second_source = SecondSource(db, chain, second)
        self._progress = progress
        self._not_followed = NotFollowed()
        self._standing = Standing(db, chain, network, self._not_followed, depth=_ANCESTORS)
        self._wallet_scan = WalletScan(db, chain)
        self._coin_parents = CoinParents(db, chain)
        self._mempool_look = MempoolLook(db, chain, wake=self._wake_up)
        self._look_back = LookBack(
            db,
            chain,
            self._watchlist,
            most_blocks=look_back_blocks,
            keep=self._leadership.keep,
            wake=self._wake_up,
        )

    def step(self) -> Step:
        """One round: lead, follow the chain, fire deadlines, look back.

        Raises ChainError, psycopg.Error or Fenced; the next round begins from what is stored.
        """
        epoch = self._leadership.lead()
        if epoch is None:
            return Step.STANDING_BY
        try:
            followed = self._follow_the_node(epoch)
        except ChainError as error:
            self._not_followed.because(str(error))
            self._look_for_progress()
            raise
        self._look_for_progress()
        if followed is None:
            return Step.WAITING
        standing, cursor = followed
        firing = self._fire_deadlines(cursor, epoch)
        moved = cursor.step != standing.step
        self._tidings.step(moved=moved)
        searching = self._look_back.step(epoch, cursor)
        self._mempool_look.step(epoch)
        scanning = self._wallet_scan.step(epoch, cursor)
        if scanning:
            self._coin_parents.look_again()
        reading = self._coin_parents.step(epoch)
        more = moved or firing or searching or scanning or reading
        return Step.MOVED if more else Step.RESTED

    def stand_down(self) -> None:
        """Give the lease back, so that another watcher need not wait for it to end."""
        self._leadership.stand_down()

    def heartbeat(self) -> Heartbeat:
        """For the length of a `with`, the lease is renewed however long a round takes."""
        return Heartbeat(self._leadership)

    def rest_seconds(self, step: Step | None, poll_seconds: float) -> float:
        """How long to rest after a round (None: one that failed).

        Only a leader at rest may sleep a whole poll: a lease that ends is taken soon after.
        """
        return poll_seconds if step is Step.RESTED else min(poll_seconds, self.rhythm_seconds)

    @property
    def rhythm_seconds(self) -> float:
        """How often the lease is renewed, or asked for."""
        return self._leadership.rhythm_seconds

    def _look_for_progress(self) -> None:
        if self._progress is not None:
            self._progress.step(self._not_followed.long_since())

    # -- following --

    def _follow_the_node(self, epoch: int) -> tuple[Cursor, Cursor] | None:
        """The cursor before and after; None while the node is not ready, or may not be followed."""
        state = self._chain.state()
        standing = self._standing.cursor(state, epoch)
        if standing is None or not self._second_source.allows(state):
            return None
        cursor = self._follow(standing, epoch, state)
        self._not_followed.is_over()
        return standing, cursor

    def _follow(self, cursor: Cursor, epoch: int, state: ChainState) -> Cursor:
        """Down to the fork, then up to the tip, at most `_BLOCKS_A_ROUND` blocks."""
        while cursor.height > state.height or self._chain.block_hash(cursor.height) != cursor.hash:
            self._leadership.keep()
            cursor = self._disconnect(cursor, epoch)
        if self._obstacle.is_waited_for():
            return cursor
        for _ in range(_BLOCKS_A_ROUND):
            self._leadership.keep()
            above = None if self._stopping() else self._climb(cursor, epoch, state)
            if above is None:
                break
            cursor = above
        return cursor

    def _climb(self, cursor: Cursor, epoch: int, state: ChainState) -> Cursor | None:
        """One block up; None when there is none, or none that can be read."""
        try:
            block = following.next_block(self._chain, cursor)
            if block is None:
                return None
            reach(CrashPoint.BLOCK_READ)
            with span("watcher.block", height=block.height), self._db.transaction() as conn:
                woken = following.connect(
                    conn, block, self._watchlist, epoch, in_grace=self._in_grace()
                )
                above = cursor_of(conn)
                reach(CrashPoint.BLOCK_BEFORE_COMMIT)
        except UnreadableBlock as error:
            self._obstacle.met(error)
            return None
        reach(CrashPoint.BLOCK_COMMITTED)
        self._obstacle.passed()
        self._report(block, len(woken.channels), state)
        self._wake_first(woken)
        reach(CrashPoint.WATCHER_WOKE)
        return above

    def _report(self, block: following.Block, channels: int, state: ChainState) -> None:
        left = state.height - block.height
        if left <= _CATCHING_UP or channels:
            _log.info("block", height=block.height, hash=str(block.hash), channels=channels)
        elif block.height % _PROGRESS_EVERY == 0:
            _log.info("catching up", height=block.height, left=left)

    def _disconnect(self, cursor: Cursor, epoch: int) -> Cursor:
        try:
            with self._db.transaction() as conn:
                woken = following.disconnect(conn, cursor, self._watchlist, epoch)
                below = cursor_of(conn)
                reach(CrashPoint.REORG_BEFORE_COMMIT)
        except CursorMismatch:
            return self._leap(cursor, epoch)
        reach(CrashPoint.REORG_COMMITTED)
        _log.warning("reorg", height=cursor.height, hash=str(cursor.hash), back_to=below.height)
        self._wake_first(woken)
        return below

    def _leap(self, cursor: Cursor, epoch: int) -> Cursor:
        """A reorg below all blocks that are known: see `workers.watcher.deep_reorg`."""
        message = f"a reorg went below block {cursor.hash} at {cursor.height}, the lowest known"
        self._db.run(lambda conn: alarms.raise_alarm(conn, None, AlarmKind.REORG_TOO_DEEP, message))
        # Before, since a commit may be one whose answer is lost.
        self._wallet_scan.begin_anew()
        leapt = deep_reorg.leap(
            self._db, self._chain, self._chain.state(), self._watchlist, epoch, depth=_ANCESTORS
        )
        if leapt is None:
            raise CursorMismatch("the chain moves while a deep reorg is undone")
        above, woken = leapt
        self._wake_first(woken)
        return above

    def _fire_deadlines(self, cursor: Cursor, epoch: int) -> bool:
        """Deadlines set for a height that was behind us already, and what a block left over.

        Some of them: the next block does not wait for thousands. Answers whether there were any.
        """
        self._leadership.keep()
        with self._db.transaction() as conn:
            woken = following.fire_due(
                conn, cursor.height, cursor.step, epoch, in_grace=self._in_grace()
            )
        if woken:
            self._wake_first(woken)
        return bool(woken)

    def _in_grace(self) -> bool:
        return time.monotonic() < self._grace_ends

    # -- waking --

    def _wake_first(self, woken: Woken) -> None:
        """What is urgent is told before all the rest, and to workers of its own."""
        if woken.urgent:
            self._wake(sorted(woken.urgent), urgent=True)
        self._wake_up(woken.channels - woken.urgent)

    def _wake_up(self, channel_ids: set[int]) -> None:
        """The commit stands; without the broker the wake-up is only late."""
        if channel_ids:
            self._wake(sorted(channel_ids))
