"""Telling the workers that the chain has moved: at once, but not for each block of a row."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Blocks that come closer together than this are told of together.
TOGETHER_SECONDS = 0.5


class Tidings:
    """What follows from a block is asked for once, however many blocks came meanwhile.

    What is asked for looks at everything that is open, so a court that catches up, or in which
    blocks come thick and fast, would do the same again and again.

    Args:
        tell: hands the word on; a broker that is away is not told again (`tasks.wakeups`).
    """

    def __init__(self, tell: Callable[[], bool]) -> None:
        self._tell = tell
        self._untold = False
        self._told_at = float("-inf")

    def step(self, *, moved: bool) -> None:
        """Call with every round of the watcher: the last word is said in a round that rests."""
        self._untold = self._untold or moved
        now = time.monotonic()
        if self._untold and now - self._told_at >= TOGETHER_SECONDS:
            self._untold, self._told_at = False, now
            self._tell()
