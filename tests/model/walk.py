"""A walk through the law: every order of events to a depth, at random beyond it.

Each world is one channel before the law in memory. Worlds that are alike are visited once, so the
walk counts distinct states; every one is held against the promises, and its case is led to its end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from tests.model.actions import ACTIONS
from tests.model.ending import Ends
from tests.model.promises import assert_promises
from tests.model.world import World

#: Where much can still go wrong, too far for every order from the beginning.
LATER = (
    ("splice told", "splice signed", "splice", "force close"),
    ("splice told", "splice signed", "propose", "revoke", "splice", "force close", "accept"),
    ("propose", "revoke", "theirs", "mine"),
    ("refused", "force close", "future", "mine"),
)
_NAMES = tuple(ACTIONS)


@dataclass
class Walked:
    """What a walk saw."""

    states: set[bytes] = field(default_factory=set)
    steps: int = 0
    ends: int = 0
    #: Of the ends: those that wait for the operator, after a spend that no rule explains.
    unexplained: int = 0
    seconds: float = 0.0
    _ends: Ends = field(default_factory=Ends)

    def words(self) -> str:
        """One line for people."""
        rate = self.steps / self.seconds if self.seconds else 0
        return (
            f"{_count(len(self.states))} distinct states in {_count(self.steps)} steps "
            f"({_count(rate)} a second); from {_count(self.ends)} of them the case was led to its "
            f"end, {_count(self.unexplained)} of these only to the operator's desk"
        )

    def lead_to_the_end(self, world: World) -> None:
        """And count it."""
        ended, operators = self._ends.lead(world)
        _check(ended)
        self.ends += 1
        self.unexplained += operators


def _count(number: float) -> str:
    return f"{number:,.0f}".replace(",", " ")


def walk(channel_type: str, depth: int, *, after: tuple[str, ...] = ()) -> Walked:
    """Every order of `depth` events, after these. Raises AssertionError naming what broke how."""
    walked, began = Walked(), time.perf_counter()
    world = World.begin(channel_type)
    for name in after:
        world = _step(world, name)
    frontier = [world]
    for _ in range(depth - 1):
        frontier = [world for old in frontier for world in _new(old, walked)]
    for old in frontier:
        for _ in _new(old, walked):
            pass  # the last ones are looked at, and not kept
    walked.seconds = time.perf_counter() - began
    return walked


def _new(world: World, walked: Walked) -> Iterator[World]:
    for name in _NAMES:
        after = _step(world, name)
        walked.steps += 1
        key = after.key()
        if key in walked.states:
            continue
        walked.states.add(key)
        _check(after)
        walked.lead_to_the_end(after)
        yield after


def stroll(channel_type: str, seed: int, steps: int) -> Walked:
    """At random, far beyond what every order can reach; begun anew every 60 steps."""
    chance, walked, began = Random(seed), Walked(), time.perf_counter()
    begin = World.begin(channel_type)
    world = begin
    for number in range(steps):
        world = _step(world, chance.choice(_NAMES))
        walked.steps += 1
        walked.states.add(world.key())
        _check(world)
        if number % 60 == 59:
            walked.lead_to_the_end(world)
            world = begin
    walked.seconds = time.perf_counter() - began
    return walked


def _step(world: World, name: str) -> World:
    try:
        return world.after(name, ACTIONS[name])
    except AssertionError as broken:
        raise AssertionError(f"after {world.words()} > {name}: {broken}") from broken


def _check(world: World) -> None:
    try:
        assert_promises(world.court, world.could.kinds)
    except AssertionError as broken:
        raise AssertionError(f"after {world.words()}: {broken}") from broken
