"""Every story before a running court: real Postgres, Redis, Celery workers and chain."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from contractcourt.case import State
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY
from storage import channels
from tests.scenarios.stack import StackCourt
from tests.scenarios.stories import STORIES, Story
from workers.simulation.channel import SimulatedChannel
from workers.simulation.court import RunningCourt

#: Each story on the stack has one of the two channel types; in memory it has both.
_TYPES = (ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_story(story: Story, court: RunningCourt) -> None:
    channel_type = _TYPES[STORIES.index(story) % 2]
    sim = SimulatedChannel(f"{story.__name__} on the stack", channel_type)
    story(StackCourt(court), sim)


def test_l3_the_thousandth_concurrent_request_is_answered_like_the_second(
    court: RunningCourt,
) -> None:
    sim = SimulatedChannel("a thousand ask at once", ANCHORS_ZERO_FEE_HTLC)
    stack = StackCourt(court)
    stack.begin(sim)
    point = str(sim.channel.channel_point)
    with ThreadPoolExecutor(16) as crowd:
        asked = [crowd.submit(court.client.force_close, point, "me too") for _ in range(1_000)]
        answers = [request.result() for request in asked]
    assert sorted(answer["outcome"] for answer in answers) == ["accepted"] + ["dropped"] * 999
    assert len({answer["closing_txid"] for answer in answers}) == 1
    assert len({answer["requested_at"] for answer in answers}) == 1
    court.client.wait_quiet()
    entries = [entry["type"] for entry in court.client.docket(point)["entries"]]
    assert entries.count("force_close_requested") == 1
    assert stack.state == "COMMITMENT_BROADCASTED"
    assert stack.published_commitments == 1


def test_the_audit_finds_no_difference_after_all_these_stories(court: RunningCourt) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "workers.cli", "audit", "--data-dir", str(court.data_dir)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_process_was_a_user_of_its_own_and_was_refused_nothing(court: RunningCourt) -> None:
    with court.client.db.transaction() as conn:
        asked = "SELECT split_part(application_name, ':', 1), usename FROM pg_stat_activity"
        users = {str(name): user for name, user in conn.execute(asked)}
    for process in ("watcher", "gateway", "worker", "signer"):
        assert users[f"contractcourt-{process}"] == f"court_{process}"
    for log in sorted((court.data_dir / "logs").glob("*.log")):
        assert "permission denied" not in log.read_text(errors="replace"), log.name


def test_l25_every_account_adds_up_after_all_these_stories(court: RunningCourt) -> None:
    with court.client.db.transaction() as conn:
        rows = channels.list_channels(conn, limit=10_000)
    assert rows
    for row in rows:
        told = court.client.account(str(row.channel_point))
        parts = ("won_sat", "lost_sat", "given_up_sat", "open_sat", "agreed_sat")
        total = sum(told[part] for part in parts) + told["closing_fee_sat"]
        assert total == told["capacity_sat"], told
        assert told["final"] == (row.state == State.FULLY_RESOLVED)
        spent_by_us = [line for line in told["lines"] if line["winner"] == "us"]
        assert all(0 < line["fee_sat"] <= line["value_sat"] for line in spent_by_us)
