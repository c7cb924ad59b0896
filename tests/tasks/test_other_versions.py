"""A case that only a newer version can read keeps no other channel waiting (decision 0035)."""

from __future__ import annotations

import pytest

from contractcourt.events import ForceCloseRequested, HeightReached
from contractcourt.units import BlockHeight
from storage import alarms, docket, outbox
from storage.database import Database
from tasks import reconcile
from tasks.publish import publish
from tasks.resources import Resources
from tests.tasks.chain_events import ChainEvents
from tests.tasks.opened import open_channel, store_unheard_of

_ASKED = ForceCloseRequested("2026-01-01T00:00:00+00:00", "operator", "a test")


def _waiting(db: Database, channel_id: int) -> list[int]:
    with db.transaction() as conn:
        rows = outbox.unsent(conn, channel_id)
    return [row.id for row in rows if row.kind == "publish_commitment"]


def test_what_others_have_to_publish_is_carried_out(db: Database, cut_off: Resources) -> None:
    (_, newer), (sim, other) = (open_channel(db, name) for name in ("newer", "other"))
    for channel_id in (newer, other):
        ChainEvents(db, channel_id).tell(_ASKED)
    store_unheard_of(db, newer)
    publish(cut_off, _waiting(db, newer) + _waiting(db, other))
    [alarm] = db.run(alarms.list_open)
    assert alarm.kind == "signer_away", "it was asked"
    assert str(sim.channel.channel_point) in alarm.message
    assert len(_waiting(db, newer)) == 1


def test_what_nobody_sweeps_any_more_keeps_nothing_from_being_found(
    db: Database, cut_off: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(reconcile, "_OLDER_THAN_SECONDS", -1.0)
    sim, newer = open_channel(db, "newer")
    chain = ChainEvents(db, newer)
    chain.spent(sim.funding_outpoint, sim.their_commitment_tx(), 200)
    chain.height(206)
    store_unheard_of(db, newer)
    _, other = open_channel(db, "other")
    with db.transaction() as conn:
        assert conn.execute("DELETE FROM sweep_inputs").rowcount > 0
        docket.append(
            conn, other, HeightReached(BlockHeight(9)), idempotency_key="h", source="chain"
        )
    woken, _ = reconcile.reconcile(cut_off)
    assert woken == 1
