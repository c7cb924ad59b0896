"""Every story before a running court: real Postgres, Redis, Celery workers and chain."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY
from tests.scenarios.stack import StackCourt
from tests.scenarios.stories import STORIES, Story
from workers.simulation.channel import SimulatedChannel
from workers.simulation.court import RunningCourt, running_court

#: Each story on the stack has one of the two channel types; in memory it has both.
_TYPES = (ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY)


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCourt]:
    with running_court(tmp_path_factory.mktemp("court")) as running:
        yield running


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_story(story: Story, court: RunningCourt) -> None:
    channel_type = _TYPES[STORIES.index(story) % 2]
    sim = SimulatedChannel(f"{story.__name__} on the stack", channel_type)
    story(StackCourt(court), sim)
