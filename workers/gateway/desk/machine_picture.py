"""The state machine of a case as a picture, drawn from the law's own steps, with the path taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from contractcourt.case import STEPS_BACK, STEPS_FORWARD, State

WIDTH, HEIGHT = 760, 250
_WIDE, _TALL = 204, 46
#: Three columns; above before the close, below after it.
_PLACES = {
    State.DEFAULT: (8, 30),
    State.BROADCAST_COMMIT: (278, 30),
    State.COMMITMENT_BROADCASTED: (548, 30),
    State.CONTRACT_CLOSED: (8, 160),
    State.WAITING_FULL_RESOLUTION: (278, 160),
    State.FULLY_RESOLVED: (548, 160),
}
#: What each state means, for who does not know lnd's names.
MEANINGS = {
    State.DEFAULT: "open, watched",
    State.BROADCAST_COMMIT: "decided to close",
    State.COMMITMENT_BROADCASTED: "our commitment is out",
    State.CONTRACT_CLOSED: "closed on chain",
    State.WAITING_FULL_RESOLUTION: "outputs being won",
    State.FULLY_RESOLVED: "nothing left to win",
}
_GAP = 5.0


@dataclass(frozen=True, slots=True)
class Box:
    """A state. `visited`: the case has been there; `present`: it is there now."""

    state: State
    meaning: str
    x: int
    y: int
    visited: bool
    present: bool


@dataclass(frozen=True, slots=True)
class Arrow:
    """A step that the law allows. `taken` are the places in the path at which it was taken."""

    line: str
    taken: str
    back: bool
    label_x: float
    label_y: float


@dataclass(frozen=True, slots=True)
class MachinePicture:
    """What the template draws."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def picture(path: Sequence[State]) -> MachinePicture:
    """The machine, and a case's way through it. A step back is drawn only if it was taken."""
    taken: dict[tuple[State, State], list[int]] = {}
    for place, step in enumerate(pairwise(path), start=1):
        taken.setdefault(step, []).append(place)
    shown = STEPS_FORWARD | (STEPS_BACK & taken.keys())
    boxes = tuple(
        Box(state, MEANINGS[state], x, y, state in path, state is path[-1])
        for state, (x, y) in _PLACES.items()
    )
    # What was taken lies above the rest.
    ordered = sorted(shown, key=lambda step: (step in taken, step))
    return MachinePicture(boxes, tuple(_arrow(step, taken.get(step, [])) for step in ordered))


def _arrow(step: tuple[State, State], places: list[int]) -> Arrow:
    (x1, y1), (x2, y2) = (_middle(state) for state in step)
    back = step in STEPS_BACK
    if y1 == y2 and abs(x2 - x1) > 2 * _WIDE:
        # Along a row past the state between: round its outside.
        outside = y1 + _TALL if y1 > HEIGHT / 2 else y1 - _TALL
        bend = ((x1 + x2) / 2, outside + (18 if outside > y1 else -18))
    else:
        # A step back bends aside, so that it does not hide the step forward.
        aside = 34 if back else 0
        length = math.hypot(x2 - x1, y2 - y1)
        bend = (
            (x1 + x2) / 2 + aside * (y2 - y1) / length,
            (y1 + y2) / 2 - aside * (x2 - x1) / length,
        )
    start, end = _edge((x1, y1), bend), _edge((x2, y2), bend)
    line = f"M{_at(start)} Q{_at(bend)} {_at(end)}"
    label = ((start[0] + 2 * bend[0] + end[0]) / 4, (start[1] + 2 * bend[1] + end[1]) / 4)
    return Arrow(line, ", ".join(map(str, places)), back, round(label[0], 1), round(label[1], 1))


def _middle(state: State) -> tuple[float, float]:
    x, y = _PLACES[state]
    return x + _WIDE / 2, y + _TALL / 2


def _edge(middle: tuple[float, float], towards: tuple[float, float]) -> tuple[float, float]:
    """Where the way from a box's middle leaves the box, and a little on."""
    across, down = towards[0] - middle[0], towards[1] - middle[1]
    wide, tall = _WIDE / 2 + _GAP, _TALL / 2 + _GAP
    scale = min(wide / abs(across) if across else math.inf, tall / abs(down) if down else math.inf)
    return middle[0] + across * scale, middle[1] + down * scale


def _at(point: tuple[float, float]) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"
