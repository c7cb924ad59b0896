"""Every watched outpoint in memory, kept up with the table."""

from __future__ import annotations

from collections.abc import Iterable

from contractcourt.bitcoin.outpoint import OutPoint
from storage import watches
from storage.database import Connection
from storage.watches import Watch


class Watchlist:
    """Outpoints to the channels that watch them. `in` answers for raw 36-byte outpoints."""

    def __init__(self) -> None:
        self._channels: dict[bytes, tuple[int, ...]] = {}
        self._position: int | None = None

    def __len__(self) -> int:
        return len(self._channels)

    def __contains__(self, outpoint: object) -> bool:
        return outpoint in self._channels

    @property
    def outpoints(self) -> dict[bytes, tuple[int, ...]]:
        """The set itself, for the block walk: a look-up there must cost no call."""
        return self._channels

    def channels_of(self, outpoint: OutPoint) -> tuple[int, ...]:
        """Who watches this outpoint."""
        return self._channels.get(bytes(outpoint), ())

    def refresh(self, conn: Connection) -> None:
        """Take in what changed since the last time; the first time reads everything."""
        position = watches.position(conn)
        if self._position is None:
            for outpoint, channel_id in watches.active(conn):
                self._add(outpoint, channel_id)
        else:
            changes = watches.changed_since(conn, self._position)
            for watch in changes.added:
                self._add(bytes(watch.outpoint), watch.channel_id)
            for watch in changes.removed:
                self._remove(bytes(watch.outpoint), watch.channel_id)
        self._position = position

    def hold(self, watched: Iterable[Watch]) -> None:
        """Have these on the list, whatever `refresh` has seen.

        It goes by the numbers of transactions, and Postgres may use the last of them again after
        a crash, or after a standby took over.
        """
        for watch in watched:
            self._add(bytes(watch.outpoint), watch.channel_id)

    def _add(self, outpoint: bytes, channel_id: int) -> None:
        held = self._channels.get(outpoint, ())
        if channel_id not in held:
            self._channels[outpoint] = (*held, channel_id)

    def _remove(self, outpoint: bytes, channel_id: int) -> None:
        left = tuple(c for c in self._channels.get(outpoint, ()) if c != channel_id)
        if left:
            self._channels[outpoint] = left
        else:
            self._channels.pop(outpoint, None)
