"""Redis forgets, beats stop or double or err: the closes end as they do without (C4, C16)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from storage import blocks
from tests.faults.closing_storm import ClosingStorm
from tests.faults.ends import End
from tests.faults.parts import PartedCourt, Size, parted_court
from tests.summary import Summary

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

_CHANNELS = 60
_FEW = 6


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PartedCourt]:
    with parted_court(tmp_path_factory.mktemp("redis")) as running:
        yield running


def _flush(court: PartedCourt) -> None:
    with redis.Redis.from_url(court.client.endpoints["redis"]) as broker:
        broker.flushall()


def _resolved_alike(ends: set[End]) -> End:
    [end] = ends
    assert (end.state, end.close_kind, end.commitments) == ("FULLY_RESOLVED", "remote", 0)
    assert end.told == {"channel.closing", "channel.closed", "channel.fully_resolved"}
    return end


def test_c4_redis_forgets_again_and_again_during_a_closing_storm(
    court: PartedCourt, summary: Summary
) -> None:
    storm = ClosingStorm(court, "flushed", _CHANNELS)
    storm.break_out()
    flushed = 0

    def at_rest() -> bool:
        nonlocal flushed
        if flushed < 20:
            _flush(court)
            flushed += 1
            return False
        return court.client.is_quiet()

    court.client.wait_until(at_rest, "the closes to be seen although Redis forgets them")
    _resolved_alike(storm.pass_by())
    summary(f"C4: Redis flushed {flushed} times while {_CHANNELS} channels closed, all resolved")


def test_c4_redis_killed_during_a_closing_storm(court: PartedCourt) -> None:
    storm = ClosingStorm(court, "restarted", _FEW)
    storm.break_out()
    court.keep_down("redis")
    court.client.mine(1)
    court.client.wait_until(lambda: _watcher_is_at_tip(court), "the watcher to go on without Redis")
    court.start_again("redis")
    court.wait_ready("redis")
    _resolved_alike(storm.pass_by())


@pytest.mark.parametrize(
    "size",
    [Size(beats=2), Size(beats=0), Size(beat_clock_seconds=-86_400), Size(beat_clock_seconds=9e6)],
    ids=["two beats", "no beat", "a beat a day late", "a beat months ahead"],
)
def test_c16_beats_change_nothing(size: Size, tmp_path: Path) -> None:
    """What Redis forgets is found by the nudge of a beat, or else with the next block."""
    with parted_court(tmp_path, size) as court:
        storm = ClosingStorm(court, "beaten", _FEW)
        storm.break_out()
        court.client.wait_until(lambda: _watcher_is_at_tip(court), "the closes to be seen")
        for _ in range(3):
            _flush(court)
            court.client.mine(1)
            court.client.wait_until(lambda: _watcher_is_at_tip(court), "the block to be seen")
        _resolved_alike(_without_nudges(storm, court))


def _without_nudges(storm: ClosingStorm, court: PartedCourt) -> set[End]:
    """A block whenever nothing moves: all that a court without a beat can hope for."""
    for _ in range(10):
        court.client.mine(1)
        court.client.wait_until(lambda: _watcher_is_at_tip(court), "the block to be seen")
    return storm.pass_by()


def _watcher_is_at_tip(court: PartedCourt) -> bool:
    with court.client.db.transaction() as conn:
        cursor = blocks.cursor(conn)
    return cursor is not None and cursor.height == court.client.height()
