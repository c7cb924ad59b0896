"""The chain watcher: follows Bitcoin and puts what it sees on the dockets.

Any number may run; the one that holds the lease leads, and every write is fenced by its epoch. A
poll finds everything; a notification from the node only makes it look sooner.
"""

from __future__ import annotations

import signal
import threading
import uuid
from collections.abc import Callable, Sequence
from enum import Enum

import psycopg
import structlog
from kombu.exceptions import OperationalError

from chain.bitcoin_core import BitcoinCore
from chain.errors import BlockUnavailable, ChainError, WrongNetwork
from chain.view import ChainState
from contractcourt.units import BlockHash, BlockHeight
from storage import alarms, blocks, lease, watches
from storage.blocks import Cursor
from storage.database import Connection, Database
from storage.errors import CursorMismatch, Fenced
from storage.retries import is_retryable
from tasks import wakeups
from tasks.logs import configure
from tasks.settings import Settings
from workers.watcher import following, look_back
from workers.watcher.watchlist import Watchlist

_log = structlog.get_logger()

#: As deep as a reorg below the first cursor can be followed (promise P8).
_ANCESTORS = 144
#: Blocks connected before the loop looks at anything else.
_BLOCKS_A_STEP = 200
_WATCHES_A_STEP = 2_000


class Step(Enum):
    """What one round of the watcher did."""

    MOVED = "moved"
    RESTED = "rested"
    STANDING_BY = "standing_by"
    SYNCING = "syncing"


class ChainWatcher:
    """One watcher. `step` is one round; `run` repeats it until told to stop."""

    def __init__(
        self,
        db: Database,
        chain: BitcoinCore,
        *,
        network: str,
        wake: Callable[[Sequence[int]], None] = wakeups.wake,
        new_block: Callable[[], None] = wakeups.new_block,
        lease_seconds: float = 10.0,
        look_back_blocks: int = 2_016,
    ) -> None:
        self._db = db
        self._chain = chain
        self._network = network
        self._wake = wake
        self._new_block = new_block
        self._lease_seconds = lease_seconds
        self._look_back_blocks = look_back_blocks
        self._holder = uuid.uuid4()
        self._epoch: int | None = None
        self._watchlist = Watchlist()

    def step(self) -> Step:
        """One round: lead, follow the chain, fire deadlines, look back.

        Raises ChainError, psycopg.Error or Fenced; the next round begins from what is stored.
        """
        epoch = self._lead()
        if epoch is None:
            return Step.STANDING_BY
        state = self._chain.state()
        if state.network != self._network:
            raise WrongNetwork(
                f"the Bitcoin node serves {state.network}, this court {self._network}: "
                "set CONTRACTCOURT_NETWORK or BITCOIND_URL"
            )
        cursor = self._cursor(state)
        if state.syncing and state.height < cursor.height:
            _log.warning("the Bitcoin node is still syncing", height=state.height)
            return Step.SYNCING
        moved = self._walk(cursor, epoch, state)
        self._look_back(epoch)
        return Step.MOVED if moved else Step.RESTED

    def stand_down(self) -> None:
        """Give the lease back, so that another watcher need not wait for it to end."""
        epoch = self._epoch
        if epoch is not None:
            self._db.run(lambda conn: lease.release(conn, lease.CHAIN_WATCHER, self._holder, epoch))

    # -- leading --

    def _lead(self) -> int | None:
        ttl, epoch = self._lease_seconds, self._epoch
        with self._db.transaction() as conn:
            if epoch is not None and lease.renew(
                conn, lease.CHAIN_WATCHER, self._holder, epoch, ttl
            ):
                return epoch
            taken = lease.acquire(conn, lease.CHAIN_WATCHER, self._holder, ttl)
        if taken is not None:
            _log.info("leading", epoch=taken, holder=str(self._holder))
        self._epoch = taken
        return taken

    def _cursor(self, state: ChainState) -> Cursor:
        with self._db.transaction() as conn:
            standing = blocks.cursor(conn)
        if standing is not None:
            return standing
        ancestors = self._hashes_below(state.height)
        with self._db.transaction() as conn:
            _log.info("beginning to follow", height=state.height)
            return blocks.init_cursor(conn, state.height, state.best_hash, ancestors)

    def _hashes_below(self, height: BlockHeight) -> list[BlockHash]:
        lowest = max(0, height - _ANCESTORS)
        found = [self._chain.block_hash(BlockHeight(h)) for h in range(height - 1, lowest - 1, -1)]
        return [block_hash for block_hash in found if block_hash is not None]

    # -- following --

    def _walk(self, cursor: Cursor, epoch: int, state: ChainState) -> bool:
        """Down to the fork, then up to the tip, at most `_BLOCKS_A_STEP` blocks."""
        moved = False
        while self._chain.block_hash(cursor.height) != cursor.hash:
            cursor = self._disconnect(cursor, epoch)
            moved = True
        for _ in range(_BLOCKS_A_STEP):
            block = self._read_next(cursor, state)
            if block is None:
                break
            cursor = self._connect(block, epoch)
            moved = True
        self._fire_late_deadlines(cursor)
        if moved:
            self._tell(self._new_block)
        return moved

    def _read_next(self, cursor: Cursor, state: ChainState) -> following.Block | None:
        try:
            return following.next_block(self._chain, cursor)
        except BlockUnavailable as error:
            pruned = state.prune_height is not None and cursor.height + 1 < state.prune_height
            kind = "pruned_below_cursor" if pruned else "block_unavailable"
            message = str(error)
            self._db.run(lambda conn: alarms.raise_alarm(conn, None, kind, message))
            self._chain.fetch_from_peers(BlockHeight(cursor.height + 1))
            raise

    def _connect(self, block: following.Block, epoch: int) -> Cursor:
        with self._db.transaction() as conn:
            self._watchlist.refresh(conn)
        with self._db.transaction() as conn:
            channel_ids = following.connect(conn, block, self._watchlist, epoch)
            cursor = _standing(conn)
        _log.info("block", height=block.height, hash=str(block.hash), channels=len(channel_ids))
        self._wake_up(channel_ids)
        return cursor

    def _disconnect(self, cursor: Cursor, epoch: int) -> Cursor:
        with self._db.transaction() as conn:
            self._watchlist.refresh(conn)
        with self._db.transaction() as conn:
            channel_ids = following.disconnect(
                conn, cursor.height, cursor.hash, self._watchlist, epoch
            )
            below = _standing(conn)
        _log.warning("reorg", height=cursor.height, hash=str(cursor.hash), back_to=below.height)
        self._wake_up(channel_ids)
        return below

    def _fire_late_deadlines(self, cursor: Cursor) -> None:
        """Deadlines set for a height that was behind us already."""
        with self._db.transaction() as conn:
            channel_ids = following.fire_due(conn, cursor.height, cursor.step)
        self._wake_up(channel_ids)

    # -- looking back --

    def _look_back(self, epoch: int) -> None:
        with self._db.transaction() as conn:
            new = watches.to_look_back(conn, _WATCHES_A_STEP)
            cursor = _standing(conn)
            known = look_back.known_spends(conn, new)
        if not new:
            return
        self._refresh_before_looking_back()
        unknown = [watch for watch in new if watch.outpoint not in known]
        found = look_back.search(self._chain, unknown, cursor, self._look_back_blocks)
        if self._chain.block_hash(cursor.height) != cursor.hash:
            return  # a reorg came in between: what was found may be gone, look again after it
        woken: set[int] = set()
        with self._db.transaction() as conn:
            lease.hold(conn, lease.CHAIN_WATCHER, epoch)
            for watch in new:
                spend = found.get(watch.outpoint) or known.get(watch.outpoint)
                if spend is not None:
                    following.record_earlier_spend(conn, watch.channel_id, spend, cursor)
                    woken.add(watch.channel_id)
            watches.looked_back(conn, [watch.id for watch in new])
        self._wake_up(woken)

    def _refresh_before_looking_back(self) -> None:
        """From here on the walk sees these outpoints, so the search may end at the cursor."""
        with self._db.transaction() as conn:
            self._watchlist.refresh(conn)

    # -- waking --

    def _wake_up(self, channel_ids: set[int]) -> None:
        if channel_ids:
            self._tell(lambda: self._wake(sorted(channel_ids)))

    def _tell(self, publish: Callable[[], None]) -> None:
        """The commit stands; without the broker the wake-up is only late."""
        try:
            publish()
        except OperationalError as error:
            _log.warning("broker away, reconcile will wake", error=str(error))


def _standing(conn: Connection) -> Cursor:
    cursor = blocks.cursor(conn)
    if cursor is None:
        raise CursorMismatch("the chain cursor is gone")
    return cursor


def run(settings: Settings) -> None:
    """Watch until SIGTERM or SIGINT."""
    configure("watcher", level=settings.log_level, fmt=settings.log_format)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    db = Database(settings.required_database_url, application_name="contractcourt-watcher")
    chain = BitcoinCore(settings.required_bitcoind_url, cookie_file=settings.bitcoind_cookie_file)
    watcher = ChainWatcher(
        db, chain, network=settings.network, lease_seconds=settings.lease_seconds
    )
    while not stop.is_set():
        if _round(watcher) is not Step.MOVED:
            stop.wait(settings.poll_seconds)
    watcher.stand_down()
    chain.close()
    db.close()


def _round(watcher: ChainWatcher) -> Step:
    """One step; what passes by itself is logged and tried again at the next poll."""
    try:
        return watcher.step()
    except (ChainError, Fenced, CursorMismatch) as error:
        _log.warning("watching pauses", reason=str(error), error=type(error).__name__)
    except psycopg.Error as error:
        if not is_retryable(error):
            raise
        _log.warning("Postgres is away", error=str(error))
    return Step.RESTED
