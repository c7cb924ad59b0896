"""A look into the mempool: a claim of an offered HTLC shows its preimage before it is mined.

It may be replaced before anybody mines it, so it is told of at first sight (users_ask L15).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from chain.view import ChainView, MempoolSpend
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.events import SpendSeen
from contractcourt.units import HexBytes, Txid
from storage import broadcasts, contracts, docket, lease
from storage.database import Connection, Database
from storage.docket import NewEntry
from tasks.crash_points import CrashPoint, reach

#: Asked for with one poll; the nearest expiries first.
_MOST_OUTPOINTS = 2_000
#: A standby may have taken over that was never told, and a claim be replaced before it is mined.
_REMEMBERED_SECONDS = 30.0


class MempoolLook:
    """All looks of one watcher; what was told is not told again for a while.

    Args:
        wake: called with the channels that have something on their dockets.
    """

    def __init__(self, db: Database, chain: ChainView, *, wake: Callable[[set[int]], None]) -> None:
        self._db = db
        self._chain = chain
        self._wake = wake
        self._told: set[tuple[OutPoint, Txid]] = set()
        self._forget_at = 0.0

    def step(self, epoch: int) -> None:
        """Look once. Raises ChainError, psycopg.Error or Fenced; the next look sees as much."""
        claimable = self._db.run(lambda conn: contracts.claimable_by_hash(conn, _MOST_OUTPOINTS))
        if not claimable:
            self._told.clear()
            return
        if time.monotonic() >= self._forget_at:
            self._told.clear()
            self._forget_at = time.monotonic() + _REMEMBERED_SECONDS
        spends = self._chain.mempool_spends(list(claimable))
        new = {o: spend for o, spend in spends.items() if (o, spend.txid) not in self._told}
        if not new:
            return

        def tell(conn: Connection) -> set[int]:
            lease.hold(conn, lease.CHAIN_WATCHER, epoch)
            ours = broadcasts.known(conn, [spend.txid for spend in new.values()])
            entries = [
                _entry(claimable[outpoint], outpoint, spend)
                for outpoint, spend in new.items()
                if spend.txid not in ours
            ]
            stand = docket.append_many(conn, entries)
            reach(CrashPoint.MEMPOOL_LOOK_BEFORE_COMMIT)
            told = zip(entries, stand, strict=True)
            return {entry.channel_id for entry, standing in told if not standing.duplicate}

        channel_ids = self._db.run(tell)
        reach(CrashPoint.MEMPOOL_LOOK_COMMITTED)
        self._told |= {(outpoint, spend.txid) for outpoint, spend in new.items()}
        self._wake(channel_ids)


def _entry(channel_id: int, outpoint: OutPoint, spend: MempoolSpend) -> NewEntry:
    event = SpendSeen(outpoint, spend.txid, HexBytes(spend.raw_tx))
    return NewEntry(channel_id, event, f"seen:{outpoint}:{spend.txid}", "chain")
