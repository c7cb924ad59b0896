"""What only a newer version can read keeps no other channel waiting (decision 0035)."""

from __future__ import annotations

import psycopg
import pytest

from chain.devnet.process import DevnetProcess
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import Side
from contractcourt.events import ForceCloseRequested, HeightReached
from contractcourt.units import BlockHeight
from storage import alarms, docket, outbox, sweep_inputs
from storage.database import Database
from tasks import reconcile, wakeups
from tasks.arbitration import arbitrate
from tasks.publish import publish
from tasks.resources import Resources
from tasks.sweeper.round import SweepRound
from tests.contractcourt.sweeping.wanted import market
from tests.tasks.chain_events import ChainEvents
from tests.tasks.opened import damage_transactions, open_channel, store_unheard_of
from tests.tasks.sweeps import STARTED, Sweeps

_ASKED = ForceCloseRequested("2026-01-01T00:00:00+00:00", "operator", "a test")


_SPOIL_WISH = """
    UPDATE sweep_inputs SET want = replace(want, '"kind":"offered_htlc"', '"kind":"unheard_of"')
    WHERE outpoint = %(outpoint)s AND strpos(want, '"kind":"offered_htlc"') > 0
"""


def _spoil_wish(db: Database, outpoint: OutPoint) -> None:
    spoiled = db.run(lambda conn: conn.execute(_SPOIL_WISH, {"outpoint": outpoint}))
    assert spoiled.rowcount == 1


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


def test_what_fails_beside_it_keeps_nobody_from_being_woken(
    db: Database, cut_off: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(reconcile, "_OLDER_THAN_SECONDS", -1.0)
    woken: list[list[int]] = []
    monkeypatch.setattr(wakeups, "wake", woken.append)
    _, channel_id = open_channel(db, "woken")
    with db.transaction() as conn:
        docket.append(
            conn, channel_id, HeightReached(BlockHeight(9)), idempotency_key="h", source="chain"
        )
        conn.execute("ALTER TABLE tallies RENAME TO damaged")
    with pytest.raises(psycopg.errors.UndefinedTable):
        reconcile.reconcile(cut_off)
    assert woken == [[channel_id]]


def test_what_fails_beside_it_keeps_no_sweep_from_being_found(
    db: Database, cut_off: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    sim, channel_id = open_channel(db, "forgotten")
    chain = ChainEvents(db, channel_id)
    chain.spent(sim.funding_outpoint, sim.their_commitment_tx(), 200)
    chain.height(206)
    with db.transaction() as conn:
        assert conn.execute("DELETE FROM sweep_inputs").rowcount > 0
        conn.execute("ALTER TABLE tallies RENAME TO damaged")
    with pytest.raises(psycopg.errors.UndefinedTable):
        reconcile.reconcile(cut_off)
    assert db.run(lambda conn: sweep_inputs.of_channel(conn, channel_id)) != []


def test_a_wish_keeps_no_other_from_being_swept(sweeper: Resources, devnet: DevnetProcess) -> None:
    world = Sweeps(sweeper, devnet)
    newer, other = (world.closed(name, Side.REMOTE, [60_000]) for name in ("newer", "other"))
    wished, swept = (c.want(1, deadline=STARTED + 10, budget_sat=9_000) for c in (newer, other))
    _spoil_wish(sweeper.db, wished)
    world.round(STARTED, price=1_000)
    assert world.in_mempool(wished) is None
    assert world.in_mempool(swept) is not None
    [alarm] = sweeper.db.run(alarms.list_open)
    assert (alarm.kind, alarm.channel_id) == ("not_signed", newer.channel_id)
    assert str(wished) in alarm.message


def test_a_sweep_of_a_newer_version_stays_out(sweeper: Resources, devnet: DevnetProcess) -> None:
    world = Sweeps(sweeper, devnet)
    closed = world.closed("newer", Side.REMOTE, [60_000])
    wished = closed.want(1, deadline=STARTED + 10, budget_sat=9_000)
    world.round(STARTED, price=1_000)
    [sent] = world.out()
    _spoil_wish(sweeper.db, wished)
    world.round(STARTED + 9, price=1_000)
    [again] = world.out()
    assert again.txid == sent.txid
    assert again.attempts > sent.attempts


def test_an_effect_keeps_no_other_from_being_carried_out(db: Database, cut_off: Resources) -> None:
    (_, newer), (sim, other) = (open_channel(db, name) for name in ("newer", "other"))
    for channel_id in (newer, other):
        ChainEvents(db, channel_id).tell(_ASKED)
    [spoiled] = _waiting(db, newer)
    spoil = "UPDATE outbox SET effect = replace(effect, 'commitment', 'unheard_of') WHERE id = %s"
    db.run(lambda conn: conn.execute(spoil, [spoiled]))
    publish(cut_off, [spoiled, *_waiting(db, other)])
    told = {alarm.kind: alarm for alarm in db.run(alarms.list_open)}
    assert told.keys() == {"not_signed", "signer_away"}
    assert told["not_signed"].channel_id == newer
    assert str(sim.channel.channel_point) in told["signer_away"].message


def test_a_damaged_case_keeps_no_others_effect_from_being_carried_out(
    db: Database, cut_off: Resources
) -> None:
    (_, damaged), (sim, other) = (open_channel(db, name) for name in ("damaged", "other"))
    for channel_id in (damaged, other):
        ChainEvents(db, channel_id).tell(_ASKED)
    db.run(lambda conn: damage_transactions(conn, damaged))
    publish(cut_off, _waiting(db, damaged) + _waiting(db, other))
    told = {alarm.kind: alarm for alarm in db.run(alarms.list_open)}
    assert told.keys() == {"not_signed", "signer_away"}
    assert told["not_signed"].channel_id == damaged
    assert str(sim.channel.channel_point) in told["signer_away"].message
    [waits] = db.run(lambda conn: outbox.unsent(conn, damaged))
    assert waits.attempts == 1, "it is tried again"


def test_a_damaged_case_keeps_no_other_from_being_advanced(db: Database) -> None:
    damaged, other = (open_channel(db, name)[1] for name in ("damaged", "other"))
    for channel_id in (damaged, other):
        ChainEvents(db, channel_id).tell(_ASKED)
    with db.transaction() as conn:
        damage_transactions(conn, damaged)
        for channel_id in (damaged, other):
            docket.append(
                conn, channel_id, HeightReached(BlockHeight(9)), idempotency_key="h", source="chain"
            )
    assert arbitrate(db, [damaged, other]).applied == 1
    with db.transaction() as conn:
        assert docket.unapplied_channels(conn, 0, 10) == [damaged]
        [alarm] = alarms.list_open(conn)
    assert (alarm.kind, alarm.channel_id) == ("law_broken", damaged)


def test_a_kind_of_effect_keeps_no_other_from_being_found(
    db: Database, cut_off: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(reconcile, "_OLDER_THAN_SECONDS", -1.0)
    newer, other = (open_channel(db, name)[1] for name in ("newer", "other"))
    for channel_id in (newer, other):
        ChainEvents(db, channel_id).tell(_ASKED)
    with db.transaction() as conn:
        conn.execute("ALTER TABLE outbox DROP CONSTRAINT outbox_kind_check")
        conn.execute("UPDATE outbox SET kind = 'unheard_of' WHERE channel_id = %s", [newer])
    _, handed_on = reconcile.reconcile(cut_off)
    assert handed_on == 1


def test_a_child_of_a_damaged_commitment_keeps_no_other_from_being_swept(
    db: Database, cut_off: Resources
) -> None:
    (_, damaged), (sim, other) = (open_channel(db, name) for name in ("damaged", "other"))
    for channel_id in (damaged, other):
        ChainEvents(db, channel_id).tell(_ASKED)
    spoil = """
        UPDATE sweep_inputs SET want = replace(want, '"tx":"02000000', '"tx":"02')
        WHERE channel_id = %s AND strpos(want, '"tx":"02000000') > 0
    """
    assert db.run(lambda conn: conn.execute(spoil, [damaged])).rowcount == 1
    the_round = SweepRound(
        cut_off, sim.node, BlockHeight(100), market(floor=253, price=9_000), urgent=False
    )
    the_round.run(since=None, position=0)
    raised = {alarm.channel_id: alarm.kind for alarm in db.run(alarms.list_open)}
    assert raised == {damaged: "not_signed", other: "fee_wallet_short"}
