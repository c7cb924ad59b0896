"""Our commitment whose child can't pay what the mempool asks for waits, and somebody is told."""

from __future__ import annotations

from contractcourt.alarms import AlarmKind
from contractcourt.events import ForceCloseRequested
from contractcourt.units import BlockHeight
from storage import alarms, sweep_inputs
from storage.database import Database
from storage.sweep_inputs import StoredSweep, SweepState
from tasks.resources import Resources
from tasks.sweeper.findings import Findings
from tests.contractcourt.sweeping.wanted import market
from tests.tasks.chain_events import ChainEvents
from tests.tasks.opened import open_channel


def _bump(db: Database, channel_id: int) -> StoredSweep:
    [row] = db.run(lambda conn: sweep_inputs.of_channel(conn, channel_id))
    return row


def _at(row: StoredSweep, blocks: int) -> BlockHeight:
    return BlockHeight(row.started_height + blocks)


def test_b7_the_child_of_our_commitment_is_never_given_up(db: Database, held: Resources) -> None:
    """Its floor is passed for as long as fees are high, and until then nothing of it is lost."""
    sim, channel_id = open_channel(db, "below the floor")
    asked = ForceCloseRequested("2026-01-01T00:00:00+00:00", "operator", "a test")
    ChainEvents(db, channel_id).tell(asked)
    for blocks in (0, 144, 4_032, 8_000):
        row = _bump(db, channel_id)
        dear, height = market(floor=300_000), _at(row, blocks)
        Findings(held, sim.node).wait([(row, row.input)], dear, height)
        assert _bump(db, channel_id).state is SweepState.WANTED
        [alarm] = db.run(alarms.list_open)
        assert (alarm.kind, alarm.channel_id) == (AlarmKind.NOT_WORTH_SWEEPING, channel_id)
        assert "300000" in alarm.message
