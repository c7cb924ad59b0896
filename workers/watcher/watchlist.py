"""Every watched outpoint in memory, kept up with the table."""

from __future__ import annotations

from contractcourt.bitcoin.outpoint import OutPoint
from storage import watches
from storage.database import Connection
from storage.watches import Watch


class Watchlist:
    """Outpoints to the channels that watch them. `in` answers for raw 36-byte outpoints."""

    def __init__(self) -> None:
        self._channels: dict[bytes, tuple[int, ...]] = {}
        self._position = 0

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
        changes = watches.load_since(conn, self._position)
        for watch in changes.added:
            self._add(watch)
        for watch in changes.removed:
            self._remove(watch)
        self._position = changes.position

    def _add(self, watch: Watch) -> None:
        key = bytes(watch.outpoint)
        held = self._channels.get(key, ())
        if watch.channel_id not in held:
            self._channels[key] = (*held, watch.channel_id)

    def _remove(self, watch: Watch) -> None:
        key = bytes(watch.outpoint)
        left = tuple(c for c in self._channels.get(key, ()) if c != watch.channel_id)
        if left:
            self._channels[key] = left
        else:
            self._channels.pop(key, None)
