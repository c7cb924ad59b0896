"""How near a loss is, in few words: what colours a page, always together with the word."""

from __future__ import annotations

from enum import StrEnum

from contractcourt.units import BlockHeight

#: An hour, and six, as blocks come on average.
URGENT_BLOCKS = 6
SOON_BLOCKS = 36


class Risk(StrEnum):
    """The value is the word a page shows, and the name of its colour."""

    OVERDUE = "overdue"
    URGENT = "urgent"
    SOON = "soon"
    LATER = "later"
    CALM = "calm"


def risk_of(deadline: int | None, height: int) -> Risk:
    """How near it is, seen from `height`. Without a deadline nothing is lost by waiting."""
    if deadline is None:
        return Risk.CALM
    left = deadline - height
    if left <= 0:
        return Risk.OVERDUE
    if left <= URGENT_BLOCKS:
        return Risk.URGENT
    return Risk.SOON if left <= SOON_BLOCKS else Risk.LATER


def due_by(risk: Risk, height: int) -> BlockHeight | None:
    """Up to which height a deadline is at least this near; None for any deadline or none."""
    match risk:
        case Risk.OVERDUE:
            return BlockHeight(height)
        case Risk.URGENT:
            return BlockHeight(height + URGENT_BLOCKS)
        case Risk.SOON:
            return BlockHeight(height + SOON_BLOCKS)
        case Risk.LATER | Risk.CALM:
            return None


def left(deadline: int, height: int) -> str:
    """Blocks left, in words."""
    blocks = deadline - height
    if blocks == 0:
        return "now"
    count = f"{abs(blocks):,} block{'' if abs(blocks) == 1 else 's'}"
    return f"in {count}" if blocks > 0 else f"{count} ago"
