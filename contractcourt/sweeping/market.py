"""What fees cost now, as the Bitcoin node sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from contractcourt.units import Blocks, FeeratePerKw

#: The confirmation targets that a node is asked for, in blocks.
TARGETS = (Blocks(2), Blocks(3), Blocks(6), Blocks(12), Blocks(24), Blocks(72), Blocks(144))
#: What has no deadline need not hurry: about a day.
CALM = TARGETS[-1]


@dataclass(frozen=True, slots=True)
class Market:
    """The mempool's least feerate, its step for a replacement (BIP 125), and estimates.

    A target without an estimate is left out of `estimates`.
    """

    floor: FeeratePerKw
    incremental: FeeratePerKw
    estimates: Mapping[Blocks, FeeratePerKw] = field(default_factory=dict)

    def estimate(self, blocks_left: int) -> FeeratePerKw | None:
        """To confirm within so many blocks, never below the floor; None without an estimate."""
        target = max((t for t in TARGETS if t <= blocks_left), default=TARGETS[0])
        told = self.estimates.get(target)
        return None if told is None else max(told, self.floor)
