"""What waits for lower fees: for how long, and what is said of it."""

from __future__ import annotations

from contractcourt.alarms import AlarmKind
from contractcourt.contract import ContractKind
from contractcourt.effects import SweepOutput
from contractcourt.events import ForceCloseRequested
from contractcourt.sweeping.groups import gather
from contractcourt.units import BlockHeight, FeeratePerKw
from storage import alarms, sweep_inputs, sweep_progress
from storage.database import Database
from storage.sweep_inputs import StoredSweep, SweepState
from tasks.resources import Resources
from tasks.sweeper.findings import Findings
from tests.contractcourt.sweeping.wanted import market
from tests.tasks.chain_events import ChainEvents
from tests.tasks.opened import open_channel

_ASKED = ForceCloseRequested("2026-01-01T00:00:00+00:00", "operator", "a test")


def _row(db: Database, channel_id: int, kind: ContractKind = ContractKind.ANCHOR) -> StoredSweep:
    rows = db.run(lambda conn: sweep_inputs.of_channel(conn, channel_id))
    return next(row for row in rows if row.wish.effect.contract.kind is kind)


def _at(row: StoredSweep, blocks: int) -> BlockHeight:
    return BlockHeight(row.started_height + blocks)


def test_b7_the_child_of_our_commitment_is_never_given_up(db: Database, held: Resources) -> None:
    """Its floor is passed for as long as fees are high, and until then nothing of it is lost."""
    sim, channel_id = open_channel(db, "below the floor")
    ChainEvents(db, channel_id).tell(_ASKED)
    for blocks in (0, 144, 4_032, 8_000):
        row = _row(db, channel_id)
        dear, height = market(floor=300_000), _at(row, blocks)
        Findings(held, sim.node).wait([(row, row.input)], dear, height)
        assert _row(db, channel_id).state is SweepState.WANTED
        [alarm] = db.run(alarms.list_open)
        assert (alarm.kind, alarm.channel_id) == (AlarmKind.NOT_WORTH_SWEEPING, channel_id)
        assert "300000" in alarm.message


def test_an_anchor_that_once_paid_for_its_commitment_is_swept_for_less(db: Database) -> None:
    """The commitment was mined without its child, whose feerate the anchor can't pay by itself."""
    sim, channel_id = open_channel(db, "mined alone")
    chain = ChainEvents(db, channel_id)
    chain.tell(_ASKED)
    child = {_row(db, channel_id).outpoint: FeeratePerKw(5_000)}
    db.run(lambda conn: sweep_progress.offered(conn, child))
    chain.spent(sim.channel.funding_outpoint, sim.our_commitment_tx(), 200)
    chain.height(205)
    anchor = _row(db, channel_id)
    assert isinstance(anchor.wish.effect, SweepOutput)
    found = gather([anchor.input], market(floor=25, price=25), BlockHeight(201))
    assert [group.outpoints for group in found.groups] == [{anchor.outpoint}]


def test_l1_an_output_for_which_there_is_no_estimate_is_swept_in_the_end(db: Database) -> None:
    sim, channel_id = open_channel(db, "no estimate")
    chain = ChainEvents(db, channel_id)
    chain.spent(sim.channel.funding_outpoint, sim.their_commitment_tx(), 200)
    chain.height(205)
    row = _row(db, channel_id, ContractKind.TO_REMOTE)
    early, late = (gather([row.input], market(), _at(row, blocks)) for blocks in (4_031, 4_032))
    assert early.groups == ()
    assert [group.outpoints for group in late.groups] == [{row.outpoint}]
