"""A whole `up` whose every process, and whose migration, speaks to Postgres through PgBouncer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY
from tests.conftest import url_of
from tests.scenarios.stack import StackCourt
from tests.scenarios.stories import STORIES, Story, breach, local_force_close, remote_force_close
from workers.simulation.channel import SimulatedChannel
from workers.simulation.court import RunningCourt

pytestmark = pytest.mark.pooler


@pytest.fixture(scope="module")
def court(
    tmp_path_factory: pytest.TempPathFactory, pooler_url: str, new_database: str
) -> Iterator[RunningCourt]:
    running = RunningCourt(
        tmp_path_factory.mktemp("court"), given={"DATABASE_URL": url_of(pooler_url, new_database)}
    )
    running.start()
    yield running
    running.stop()


@pytest.mark.parametrize(
    "story", [local_force_close, remote_force_close, breach], ids=lambda story: story.__name__
)
def test_p3_stories_behind_a_pooler(story: Story, court: RunningCourt) -> None:
    channel_type = (ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY)[STORIES.index(story) % 2]
    story(StackCourt(court), SimulatedChannel(f"{story.__name__} pooled", channel_type))


def test_p3_a_restart_behind_a_pooler_and_a_clean_audit(court: RunningCourt) -> None:
    court.kill_everything_and_start_again()
    audit = [sys.executable, "-m", "workers.cli", "audit", "--data-dir", str(court.data_dir)]
    done = subprocess.run(audit, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 channels audited" in done.stdout
