"""How deep a spend of the funding output must be before it counts as a close."""

from __future__ import annotations

from contractcourt.effects import CloseKind
from contractcourt.units import BlockHeight, Blocks, Satoshi

_SHALLOWEST, _DEEPEST = 3, 6
#: The largest channel without option_support_large_channel (BOLT 2), in satoshi.
_LARGEST_PLAIN_CHANNEL = 16_777_215


def required_depth(capacity_sat: Satoshi) -> Blocks:
    """Blocks, the spending one included: lnd's scale from 3 to 6 by capacity."""
    scaled = _DEEPEST * capacity_sat // _LARGEST_PLAIN_CHANNEL
    return Blocks(max(_SHALLOWEST, min(_DEEPEST, scaled)))


def closing_depth(kind: CloseKind, capacity_sat: Satoshi) -> Blocks:
    """Blocks that a close of this kind must be deep to be acted on.

    A breach is answered in the block that shows it: its delay runs from there. A reorg takes the
    answer back as it would any close.
    """
    return Blocks(1) if kind is CloseKind.BREACH else required_depth(capacity_sat)


def depth_of(height: BlockHeight, best_height: BlockHeight) -> int:
    """Blocks on top of and including the one at `height`; 0 or less when it is above the tip."""
    return best_height - height + 1


def final_height(height: BlockHeight, depth: Blocks) -> BlockHeight:
    """The tip height at which something mined at `height` is `depth` blocks deep."""
    return BlockHeight(height + depth - 1)
