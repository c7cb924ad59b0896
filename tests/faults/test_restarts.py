"""Deploys under load, and deaths in every order: nothing lost, nothing twice (C13, P5)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import permutations

import pytest

from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC
from storage import channels, docket, outbox
from tests.faults.closing_storm import ClosingStorm
from tests.faults.ends import end_of
from tests.faults.parts import PartedCourt, Size, parted_court
from tests.scenarios.stack import StackCourt
from workers.simulation.channel import SimulatedChannel

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

_CHANNELS = 20


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PartedCourt]:
    with parted_court(tmp_path_factory.mktemp("restarts"), Size(watchers=2, workers=2)) as running:
        yield running


def test_c13_a_rolling_restart_under_load_loses_and_doubles_nothing(court: PartedCourt) -> None:
    storm = ClosingStorm(court, "rolling", _CHANNELS)
    storm.break_out()
    for name in (
        "worker",
        "worker-1",
        "urgent",
        "urgent-sweeps",
        "watcher",
        "watcher-1",
        "beat",
        "gateway",
    ):
        # Each ends by itself within its grace, whatever it has in hand.
        assert court.ask_to_stop(name), f"{name} had to be killed"
        court.start_again(name)
        court.wait_ready(name)
        storm.many.tell(storm.sims[0], storm.sims[0].first_update())
        court.client.mine(1)
    [end] = storm.pass_by()
    assert (end.state, end.close_kind, end.commitments) == ("FULLY_RESOLVED", "remote", 0)
    _accepted_stands(court)


def test_p5_worker_database_and_sweeper_die_in_any_order(court: PartedCourt) -> None:
    """Whatever was claimed, held or waited for is taken up again."""
    for order in permutations(("worker", "postgres", "beat")):
        name = "-".join(("dies", *order))
        sim = SimulatedChannel(name, ANCHORS_ZERO_FEE_HTLC, node=name)
        stack = StackCourt(court)  # type: ignore[arg-type]
        stack.begin(sim)
        point = str(sim.channel.channel_point)
        court.client.force_close(point, "all die")
        for part in order:
            for one in court.names(part):
                court.kill(one)
        court.client.wait_until(partial(_nothing_waits, court, sim), "every row to be taken up")
        assert stack.in_mempool(sim.our_commitment_tx().txid())
        assert end_of(court.client, point).commitments == 1


def _nothing_waits(court: PartedCourt, sim: SimulatedChannel) -> bool:
    """Applied, carried out, swept: also what was tried in vain while the others were dead."""
    with court.client.db.transaction() as conn:
        row = channels.find(conn, sim.channel.channel_point)
        assert row is not None
        unsent = outbox.unsent(conn, row.id)
    return row.applied_seq == row.last_seq and not unsent and court.client.is_quiet()


def _accepted_stands(court: PartedCourt) -> None:
    """Every webhook that was answered with 202 is on the docket where the answer said."""
    with court.client.db.transaction() as conn:
        standing = {
            (str(row.channel_point), entry.seq): entry.idempotency_key
            for row in channels.list_channels(conn, limit=10_000)
            for entry in docket.entries(conn, row.id, limit=10_000)
        }
    for one in court.client.accepted:
        assert one.channel_point is not None
        assert one.seq is not None
        assert standing[one.channel_point, one.seq] == one.idempotency_key
