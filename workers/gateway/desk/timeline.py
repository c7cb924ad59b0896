"""The deadlines ahead as a picture: heights against the money that depends on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from contractcourt.units import BlockHeight
from storage.at_risk import HeightSum
from workers.gateway.desk.risk import Risk, risk_of

#: How far ahead is looked at most: a day; and how many blocks the picture always has.
HORIZON_BLOCKS = 144
_FEWEST_BLOCKS = 12
#: The drawing's own measure; a page scales it.
WIDTH, HEIGHT = 1000, 190
_LEFT, _RIGHT, _TOP, _BASE = 84, 985, 12, 158
_WIDEST, _THINNEST = 22.0, 3.0
_TICKS = 6


@dataclass(frozen=True, slots=True)
class Bar:
    """All that falls on one height; `risk` is CALM for an appointment."""

    x: float
    y: float
    width: float
    tall: float
    height: int
    value_sat: int
    count: int
    pressing: bool
    risk: Risk


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    at: float
    label: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """What the template draws. `best_height` is where we are now."""

    best_height: int
    now_x: float
    bars: tuple[Bar, ...]
    heights: tuple[Tick, ...]
    values: tuple[Tick, ...]


def horizon(best_height: int) -> BlockHeight:
    """The last height that is asked for."""
    return BlockHeight(best_height + HORIZON_BLOCKS)


def timeline(sums: Sequence[HeightSum], best_height: int) -> Timeline:
    """The picture of these deadlines, what is overdue left of the line that says now."""
    first = min([best_height, *(one.height for one in sums)])
    last = max([best_height + _FEWEST_BLOCKS, *(one.height for one in sums)])
    # A block's room before and after, so that no bar hangs over an edge.
    per_block = (_RIGHT - _LEFT) / (last - first + 2)
    most = max((one.value_sat for one in sums), default=0)
    decades = max(math.ceil(math.log10(most + 1)), 4)

    def across(height: int) -> float:
        return round(_LEFT + (height - first + 1) * per_block, 1)

    def up(value_sat: int) -> float:
        return round(_BASE - (_BASE - _TOP) * math.log10(value_sat + 1) / decades, 1)

    width = round(max(_THINNEST, min(_WIDEST, per_block * 0.7)), 1)
    bars = tuple(
        Bar(
            x=round(across(one.height) - width / 2, 1),
            y=up(one.value_sat),
            width=width,
            tall=round(_BASE - up(one.value_sat), 1),
            height=one.height,
            value_sat=one.value_sat,
            count=one.count,
            pressing=one.pressing,
            risk=risk_of(one.height, best_height) if one.pressing else Risk.CALM,
        )
        # What presses is drawn last, over the appointments of its height.
        for one in sorted(sums, key=lambda one: (one.height, one.pressing))
    )
    step = _round_step((last - first) / _TICKS)
    marks = range(-(-first // step) * step, last + 1, step)
    powers = range(2, decades + 1, max(1, decades // 3))
    return Timeline(
        best_height=best_height,
        now_x=across(best_height),
        bars=bars,
        heights=tuple(Tick(across(height), height) for height in marks),
        values=tuple(Tick(up(10**power), 10**power) for power in powers),
    )


def _round_step(rough: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50 ..."""
    power = int(10 ** math.floor(math.log10(max(rough, 1))))
    return next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= rough)
