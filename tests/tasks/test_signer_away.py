"""A signer that comes back, or gets its keys, finds within seconds what has waited for hours."""

from __future__ import annotations

import time

import pytest

from contractcourt.events import ForceCloseRequested
from storage import alarms, docket, outbox, vault
from storage.database import Database
from storage.outbox import OutboxRow
from tasks.arbitration import arbitrate
from tasks.publish import publish
from tasks.reconcile import reconcile
from tasks.resources import Resources
from tests.tasks.opened import open_channel

_ASKED = ForceCloseRequested("2026-01-01T00:00:00+00:00", "operator", "a test")
_UNTIL_DUE = """
    SELECT attempts, extract(epoch FROM due_at - clock_timestamp())::float8
    FROM outbox WHERE id = %(id)s
"""


def _asked(db: Database, channel_id: int) -> OutboxRow:
    """Our commitment, on its way to the signer."""
    db.run(
        lambda conn: docket.append(
            conn, channel_id, _ASKED, idempotency_key="asked", source="operator"
        )
    )
    arbitrate(db, [channel_id])
    waiting = db.run(lambda conn: outbox.unsent(conn, channel_id))
    [row] = [row for row in waiting if row.kind == "publish_commitment"]
    return row


def _asked_eight_times(held: Resources, row: OutboxRow) -> list[str]:
    """It is asked for again within seconds after the last time too; the alarms that are raised."""
    for _ in range(8):
        publish(held, [row.id])
    with held.db.transaction() as conn:
        [(attempts, seconds)] = conn.execute(_UNTIL_DUE, {"id": row.id}).fetchall()
        assert (attempts, seconds <= outbox.AWAY_SECONDS) == (8, True)
        return [alarm.kind for alarm in alarms.list_open(conn, channel_id=row.channel_id)]


def test_our_commitment_is_asked_for_every_few_seconds_however_long_the_signer_is_away(
    db: Database, cut_off: Resources
) -> None:
    _, channel_id = open_channel(db, "signer away")
    assert _asked_eight_times(cut_off, _asked(db, channel_id)) == []


def test_l16_whoever_waits_for_the_signer_alone_is_alarmed_until_it_answers(
    db: Database, cut_off: Resources, sweeper: Resources
) -> None:
    sim, channel_id = open_channel(db, "told")
    row = _asked(db, channel_id)
    publish(cut_off, [row.id])
    [alarm] = db.run(alarms.list_open)
    assert (alarm.kind, alarm.node) == ("signer_away", sim.channel.node)
    assert str(sim.channel.channel_point) in alarm.message
    assert str(sim.channel.capacity_sat) in alarm.message
    publish(sweeper, [row.id])
    assert [alarm.kind for alarm in db.run(alarms.list_open)] == ["not_signed"]


def test_it_is_asked_for_although_the_clock_of_postgres_was_set_back_by_hours(
    db: Database, cut_off: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    _, channel_id = open_channel(db, "set back")
    row = _asked(db, channel_id)
    publish(cut_off, [row.id])
    with db.transaction() as conn:
        conn.execute("UPDATE outbox SET due_at = due_at + interval '3 hours'")
    reconcile(cut_off)
    time.sleep(1.1)
    assert reconcile(cut_off) == (0, 1)


def test_so_it_is_however_long_its_keys_are_missing(sweeper: Resources) -> None:
    """They may be imported when an HTLC has some blocks left."""
    _, channel_id = open_channel(sweeper.db, "no keys")
    assert _asked_eight_times(sweeper, _asked(sweeper.db, channel_id)) == ["not_signed"]


def test_a_commitment_at_which_the_signer_fails_is_alarmed(sweeper: Resources) -> None:
    sim, channel_id = open_channel(sweeper.db, "keys do not open")
    record = f"channel/{sim.channel.channel_point}"
    sweeper.db.run(lambda conn: vault.put_sealed(conn, record, b"\x01" + bytes(60)))
    row = _asked(sweeper.db, channel_id)
    assert _asked_eight_times(sweeper, row) == ["not_signed"]
