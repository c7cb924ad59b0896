"""Every story against the law alone."""

from __future__ import annotations

import pytest

from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.stories import STORIES, Story
from workers.simulation.channel import SimulatedChannel


@pytest.mark.parametrize("restarts", [False, True], ids=["straight", "restarted_at_every_event"])
@pytest.mark.parametrize("channel_type", [STATIC_REMOTEKEY, ANCHORS_ZERO_FEE_HTLC])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_story(story: Story, channel_type: str, restarts: bool) -> None:
    sim = SimulatedChannel(f"{story.__name__} {channel_type}", channel_type)
    story(MemoryCourt(restarts=restarts), sim)
