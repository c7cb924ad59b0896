"""Our point is asked of the signer for as long as a close waits for it."""

from __future__ import annotations

from storage import alarms, outbox
from storage.database import Database
from tasks import points
from tasks.resources import Resources
from tests.tasks.chain_events import ChainEvents
from tests.tasks.opened import open_channel


def _waiting(db: Database, channel_id: int) -> list[int]:
    rows = db.run(lambda conn: outbox.unsent(conn, channel_id))
    return [row.id for row in rows if row.kind == "ask_local_point"]


def _alarms(db: Database) -> set[str]:
    return {alarm.kind for alarm in db.run(alarms.list_open)}


def test_the_point_of_a_close_that_a_reorg_took_is_asked_for_no_more(
    db: Database, cut_off: Resources, sweeper: Resources
) -> None:
    sim, channel_id = open_channel(db, "taken by a reorg")
    # A state that nobody told the court of.
    sim.move(0)
    chain, close = ChainEvents(db, channel_id), sim.our_commitment_tx()
    chain.spent(sim.funding_outpoint, close, 200)
    chain.height(206)
    first = _waiting(db, channel_id)
    assert first
    points.ask(cut_off, first)
    points.ask(sweeper, first)
    assert "no_local_point" in _alarms(db)
    chain.unspent(sim.funding_outpoint, close, 200)
    points.ask(sweeper, first)
    assert _waiting(db, channel_id) == []
    assert _alarms(db).isdisjoint({"no_local_point", "signer_away"})
    # Mined again it is asked for again.
    chain.spent(sim.funding_outpoint, close, 210)
    chain.height(216)
    assert _waiting(db, channel_id)
