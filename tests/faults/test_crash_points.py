"""SIGKILL at every named step: the end is that of the run in which nobody died.

Whoever dies takes Redis' memory along (`hook`), so the work that was under way is found again in
Postgres alone, by the sweep of `reconcile`; no redelivered message has a part in it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY
from tasks.crash_points import CrashPoint as At
from tests.faults.ends import End
from tests.faults.life import live
from tests.faults.parts import PartedCourt, Size, parted_court
from tests.summary import Summary
from workers.simulation.channel import SimulatedChannel

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

_TYPES = (ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY)


@dataclass(frozen=True, slots=True)
class Group:
    """Steps that one kind of process takes in one life; `closed` ones once the channel closes."""

    role: str
    points: tuple[At, ...] = ()
    closed: tuple[At, ...] = ()


_SENDING = (At.NODE_ANSWERED, At.OUTCOME_BEFORE_COMMIT, At.OUTCOME_STORED)
GROUPS = {
    "door": Group(
        "gateway",
        (
            *(At.DOOR_BEFORE_COMMIT, At.DOOR_COMMITTED, At.DOOR_BEFORE_ANSWER),
            *(At.FORCE_CLOSE_BEFORE_COMMIT, At.FORCE_CLOSE_COMMITTED),
        ),
    ),
    "watcher": Group(
        "watcher",
        (
            *(At.BLOCK_READ, At.BLOCK_BEFORE_COMMIT, At.BLOCK_COMMITTED, At.WATCHER_WOKE),
            *(At.LOOK_BACK_BEFORE_COMMIT, At.LOOK_BACK_COMMITTED),
        ),
        (
            *(At.REORG_BEFORE_COMMIT, At.REORG_COMMITTED),
            *(At.MEMPOOL_LOOK_BEFORE_COMMIT, At.MEMPOOL_LOOK_COMMITTED),
        ),
    ),
    "arbitrate": Group(
        "worker",
        (
            *(At.CASES_LOCKED, At.LAW_ASKED, At.VERDICT_BEFORE_COMMIT),
            *(At.VERDICT_COMMITTED, At.HANDED_ON),
        ),
    ),
    "publish": Group(
        "worker",
        (
            *(At.PUBLISH_TAKEN, At.PUBLISH_SIGNED, At.PUBLISH_BEFORE_COMMIT),
            *(At.PUBLISH_STORED, *_SENDING),
        ),
    ),
    "sweep": Group(
        "worker",
        closed=(
            *(At.ROUND_BEGUN, At.SWEEP_TENDED, At.SWEEP_TRIED, At.SWEEP_BEFORE_COMMIT),
            *(At.SWEEP_STORED, At.SWEEP_SENT, At.ROUND_DONE, At.ROUND_ENDED, *_SENDING),
        ),
    ),
    "errands": Group(
        "worker",
        (
            # Whoever died before this step has left it to `rebroadcast`, which takes it not.
            At.PUBLISH_SENT,
            *(At.NOTIFY_TAKEN, At.NOTIFY_SENT, At.NOTIFY_STORED),
            *(At.POINT_TAKEN, At.POINT_LEARNED, At.POINT_STORED),
            *(At.RECONCILE_BEGUN, At.RECONCILE_SWEEPS, At.RECONCILE_WOKE),
            *(At.REBROADCAST_BEGUN, At.REBROADCAST_SETTLED),
        ),
    ),
    "signer": Group("signer", (At.SIGNER_ASKED, At.SIGNER_BEFORE_ANSWER)),
}
_PATIENCE_SECONDS = 60
_OF_WORKERS = [name for name, group in GROUPS.items() if group.role == "worker"]


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PartedCourt]:
    # A dead round's claim is waited for at every step of a round.
    with parted_court(tmp_path_factory.mktemp("crashes"), Size(time_limit_seconds=8)) as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(court: PartedCourt) -> dict[str, End]:
    """How this life ends when nobody dies, by channel type."""
    court.arms.disarm()
    ends = {kind: live(court, _channel("undisturbed", kind), lambda: None) for kind in _TYPES}
    assert set(court.arms.hits()) == set(At), "a life takes every step of the list"
    for end in ends.values():
        assert (end.state, end.close_kind, end.commitments) == ("FULLY_RESOLVED", "local", 1)
        assert end.told > {"channel.closed", "htlc.fulfilled", "channel.fully_resolved"}
    return ends


def _channel(name: str, channel_type: str) -> SimulatedChannel:
    """With a node of its own, so that no other life shares its sweeps."""
    name = f"{name}-{channel_type.partition('_')[0]}"
    return SimulatedChannel(f"crashes {name}", channel_type, node=name)


def test_c3_every_step_of_the_list_belongs_to_a_group() -> None:
    grouped = {point for group in GROUPS.values() for point in (*group.points, *group.closed)}
    assert grouped == set(At)


@pytest.mark.parametrize("name", GROUPS)
def test_c3_l20_sigkill_at_every_step(
    name: str, court: PartedCourt, undisturbed: dict[str, End], summary: Summary
) -> None:
    channel_type = _TYPES[list(GROUPS).index(name) % 2]
    _die_at_all(court, name, channel_type, undisturbed, whole_worker=False)
    group = GROUPS[name]
    summary(f"crash points, {name}: died at {len(group.points) + len(group.closed)}, same end")


@pytest.mark.parametrize("name", _OF_WORKERS)
def test_c3_sigkill_to_the_whole_worker_at_every_step(
    name: str, court: PartedCourt, undisturbed: dict[str, End]
) -> None:
    channel_type = _TYPES[(list(GROUPS).index(name) + 1) % 2]
    _die_at_all(court, name, channel_type, undisturbed, whole_worker=True)


def test_the_audit_is_clean_after_all_these_deaths(court: PartedCourt) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "workers.cli", "audit", "--data-dir", str(court.data_dir)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _die_at_all(
    court: PartedCourt, name: str, channel_type: str, ends: dict[str, End], *, whole_worker: bool
) -> None:
    group = GROUPS[name]
    court.arms.disarm()
    court.arms.arm(group.points, group.role, whole_worker=whole_worker)
    when_closed: Callable[[], None] = lambda: court.arms.arm(  # noqa: E731
        group.closed, group.role, whole_worker=whole_worker
    )
    sim = _channel(f"{name}-{'worker' if whole_worker else 'one'}", channel_type)
    end = live(court, sim, when_closed)
    _let_the_rest_die(court)
    assert court.arms.still_armed() == set()
    assert court.arms.died() == {*group.points, *group.closed}
    assert end == ends[channel_type]


def _let_the_rest_die(court: PartedCourt) -> None:
    """A court may be at rest a moment before whoever brought it there takes the next step."""
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    while court.arms.still_armed() and time.monotonic() < give_up_at:
        time.sleep(0.2)
