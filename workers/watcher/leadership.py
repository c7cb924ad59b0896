"""Which watcher leads: the one whose lease row has the newest epoch (promise P7)."""

from __future__ import annotations

import time
import uuid
from uuid import UUID

import structlog

from storage import lease
from storage.database import Database
from storage.errors import Fenced

_log = structlog.get_logger()

#: A round that shows no progress for so long has lost the lead: longer than any single wait for
#: Postgres or the Bitcoin node.
PATIENCE_SECONDS = 90.0
#: The lease is renewed, and asked for, so many times in its length.
RENEWALS_A_LEASE = 3


class Leadership:
    """This process's claim to lead. Every write of a leader is fenced by its epoch.

    The clock here only says when to renew; whether the lease still runs is for the database's.

    Args:
        holder: the name of this process among all, made anew at its start. The sessions of `db`
            should carry it (`lease.session_name`), for whoever takes over from a frozen leader.
    """

    def __init__(self, db: Database, lease_seconds: float, holder: UUID | None = None) -> None:
        self._db = db
        self.lease_seconds = lease_seconds
        self._holder = holder or uuid.uuid4()
        self._epoch: int | None = None
        self._renewed_at = 0.0
        self._worked_at = time.monotonic()

    @property
    def rhythm_seconds(self) -> float:
        """How often the lease is to be renewed, or asked for while another watcher leads."""
        return self.lease_seconds / RENEWALS_A_LEASE

    def lead(self) -> int | None:
        """The epoch to write in, or None while another watcher leads."""
        self._worked_at = asked_at = time.monotonic()
        if self._epoch is not None and not self._renewed(self._epoch):
            self._fenced(self._epoch)
        if self._epoch is None:
            self._epoch = self._acquired()
        if self._epoch is not None:
            self._renewed_at = asked_at
        return self._epoch

    def keep(self) -> None:
        """Renew in the middle of long work, when it is time.

        Raises:
            Fenced: another watcher leads by now; stop this work.
        """
        self._worked_at = now = time.monotonic()
        epoch = self._epoch
        if epoch is None or now - self._renewed_at < self.rhythm_seconds:
            return
        if not self._renewed(epoch):
            self._fenced(epoch)
            raise Fenced(f"epoch {epoch} of the watcher's lease is over")
        self._renewed_at = now

    def beat(self) -> None:
        """Renew beside the work, which may be deep in one long block. Called by `Heartbeat`.

        Work that is stuck for `PATIENCE_SECONDS` loses the lead; work that finds another epoch
        notices by itself.
        """
        now, epoch = time.monotonic(), self._epoch
        if epoch is None or now - self._worked_at > PATIENCE_SECONDS:
            return
        if self._renewed(epoch):
            self._renewed_at = now

    def stand_down(self) -> None:
        """Give the lease back, so that another watcher need not wait for it to end."""
        epoch, self._epoch = self._epoch, None
        if epoch is not None:
            with self._db.transaction() as conn:
                lease.release(conn, lease.CHAIN_WATCHER, self._holder, epoch)

    def _renewed(self, epoch: int) -> bool:
        with self._db.transaction() as conn:
            return lease.renew(conn, lease.CHAIN_WATCHER, self._holder, epoch, self.lease_seconds)

    def _fenced(self, epoch: int) -> None:
        """Another watcher took over while this one was away; nothing of `epoch` may be written."""
        with self._db.transaction() as conn:
            lease.record_fencing(conn, lease.CHAIN_WATCHER, self._holder, epoch)
        _log.warning("fenced: another watcher leads", epoch=epoch, holder=str(self._holder))
        self._epoch = None

    def _acquired(self) -> int | None:
        with self._db.transaction() as conn:
            epoch = lease.acquire(conn, lease.CHAIN_WATCHER, self._holder, self.lease_seconds)
        if epoch is not None:
            _log.info("leading", epoch=epoch, holder=str(self._holder))
        return epoch
