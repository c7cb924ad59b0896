"""What a channel holds at one commitment number, and what a move makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from contractcourt.channel import Direction, Htlc

_OTHER_WAY = {
    Direction.OFFERED: Direction.RECEIVED,
    Direction.RECEIVED: Direction.OFFERED,
}


@dataclass(frozen=True, slots=True)
class Balances:
    """What the channel holds at one commitment number, from our node's view."""

    to_local_msat: int
    to_remote_msat: int
    htlcs: tuple[Htlc, ...] = ()

    def mirrored(self) -> Balances:
        """The same from the peer's view."""
        htlcs = tuple(
            msgspec.structs.replace(htlc, direction=_OTHER_WAY[htlc.direction])
            for htlc in self.htlcs
        )
        return Balances(self.to_remote_msat, self.to_local_msat, htlcs)

    def after(self, to_remote_msat: int, htlcs: tuple[Htlc, ...]) -> Balances:
        """Once the peer was paid so much, with these HTLCs instead of those held now.

        Each side gets back what those of its HTLCs held that are gone, and sets new ones aside.
        """
        return Balances(
            self.to_local_msat
            - to_remote_msat
            + _sum_msat(self.htlcs, Direction.OFFERED)
            - _sum_msat(htlcs, Direction.OFFERED),
            self.to_remote_msat
            + to_remote_msat
            + _sum_msat(self.htlcs, Direction.RECEIVED)
            - _sum_msat(htlcs, Direction.RECEIVED),
            htlcs,
        )


def _sum_msat(htlcs: Iterable[Htlc], direction: Direction) -> int:
    return sum(htlc.amount_msat for htlc in htlcs if htlc.direction is direction)
