"""Which watcher leads: the one whose lease row has the newest epoch (promise P7)."""

from __future__ import annotations

import time
import uuid

import structlog

from storage import lease
from storage.database import Database
from storage.errors import Fenced

_log = structlog.get_logger()


class Leadership:
    """This process's claim to lead. Every write of a leader is fenced by its epoch.

    The clock here only says when to renew; whether the lease still runs is for the database's.
    """

    def __init__(self, db: Database, lease_seconds: float) -> None:
        self._db = db
        self._lease_seconds = lease_seconds
        self._holder = uuid.uuid4()
        self._epoch: int | None = None
        self._renewed_at = 0.0

    def lead(self) -> int | None:
        """The epoch to write in, or None while another watcher leads."""
        asked_at = time.monotonic()
        if self._epoch is None or not self._renewed(self._epoch):
            self._epoch = self._acquired()
        if self._epoch is not None:
            self._renewed_at = asked_at
        return self._epoch

    def keep(self) -> None:
        """Renew in the middle of long work, when a third of the lease has passed.

        Raises:
            Fenced: another watcher leads by now; stop this work.
        """
        now = time.monotonic()
        if self._epoch is None or now - self._renewed_at < self._lease_seconds / 3:
            return
        if not self._renewed(self._epoch):
            epoch, self._epoch = self._epoch, None
            raise Fenced(f"epoch {epoch} of the watcher's lease is over")
        self._renewed_at = now

    def stand_down(self) -> None:
        """Give the lease back, so that another watcher need not wait for it to end."""
        epoch, self._epoch = self._epoch, None
        if epoch is not None:
            with self._db.transaction() as conn:
                lease.release(conn, lease.CHAIN_WATCHER, self._holder, epoch)

    def _renewed(self, epoch: int) -> bool:
        with self._db.transaction() as conn:
            return lease.renew(conn, lease.CHAIN_WATCHER, self._holder, epoch, self._lease_seconds)

    def _acquired(self) -> int | None:
        with self._db.transaction() as conn:
            epoch = lease.acquire(conn, lease.CHAIN_WATCHER, self._holder, self._lease_seconds)
        if epoch is not None:
            _log.info("leading", epoch=epoch, holder=str(self._holder))
        return epoch
