"""The workers hear of a block at once, and of blocks in a row together."""

import pytest

from workers.watcher import tidings
from workers.watcher.tidings import TOGETHER_SECONDS, Tidings


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(tidings, "time", clock)
    return clock


@pytest.fixture
def told() -> list[float]:
    return []


@pytest.fixture
def heard(clock: Clock, told: list[float]) -> Tidings:
    def tell() -> bool:
        told.append(clock.now)
        return True

    return Tidings(tell)


def test_the_first_block_is_told_at_once(heard: Tidings, told: list[float]) -> None:
    heard.step(moved=False)
    assert told == []
    heard.step(moved=True)
    assert told == [1_000.0]


def test_blocks_in_a_row_are_told_together_and_none_is_forgotten(
    heard: Tidings, told: list[float], clock: Clock
) -> None:
    for _ in range(5):
        heard.step(moved=True)
    assert told == [1_000.0]
    clock.now += TOGETHER_SECONDS
    heard.step(moved=False)
    assert told == [1_000.0, clock.now]
    clock.now += TOGETHER_SECONDS
    heard.step(moved=False)
    assert len(told) == 2


def test_a_block_after_a_while_is_told_at_once(
    heard: Tidings, told: list[float], clock: Clock
) -> None:
    for _ in range(3):
        heard.step(moved=True)
        clock.now += TOGETHER_SECONDS
    assert len(told) == 3
