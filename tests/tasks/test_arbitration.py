"""Advancing cases in Postgres: once, in order, by many at the same time."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from contractcourt.advance import Verdict, advance
from contractcourt.alarms import AlarmKind
from contractcourt.case import Case, State
from contractcourt.channel import RevokedSecret
from contractcourt.errors import OutOfOrder
from contractcourt.events import (
    ChannelUpdate,
    ChannelUpdated,
    Event,
    ForceCloseRequested,
    HeightReached,
)
from contractcourt.units import BlockHeight
from storage import alarms, cases, channels, docket, outbox
from storage.database import Database
from storage.docket import NewEntry
from tasks import arbitration, reconcile, verdicts
from tasks.arbitration import Outcome, arbitrate
from tests.spent import spent
from tests.tasks.opened import append_unheard_of, damage_case, open_channel, store_unheard_of

_CASE_JSON = "SELECT case_json FROM cases WHERE channel_id = %(id)s"
_SET_CASE_JSON = """
    UPDATE cases SET version = version + 1, case_json = %(case)s WHERE channel_id = %(id)s
"""
_ASKED = ForceCloseRequested("2026-01-01T00:00:00+00:00", "operator", "a test")


def _append_heights(db: Database, channel_id: int, first: int, last: int) -> None:
    entries = [
        NewEntry(channel_id, HeightReached(BlockHeight(h)), f"height:{h}", "chain")
        for h in range(first, last)
    ]
    db.run(lambda conn: docket.append_many(conn, entries))


def test_c1_one_wake_up_delivered_many_times_at_once_has_one_effect(db: Database) -> None:
    _, channel_id = open_channel(db, "delivered thrice")
    db.run(
        lambda conn: docket.append(
            conn, channel_id, _ASKED, idempotency_key="asked", source="operator"
        )
    )
    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(lambda _: arbitrate(db, [channel_id]), range(6)))
    assert sum(outcome.applied for outcome in outcomes) == 1
    with db.transaction() as conn:
        kinds = [row.kind for row in outbox.unsent(conn, channel_id)]
        stored = cases.read(conn, channel_id)
    assert kinds.count("publish_commitment") == 1
    assert stored is not None
    assert stored.case.state is State.BROADCAST_COMMIT


def test_c8_a_docket_is_applied_in_order_under_sixteen_workers(db: Database) -> None:
    _, channel_id = open_channel(db, "sixteen workers")
    _append_heights(db, channel_id, 1, 301)
    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(lambda _: arbitrate(db, [channel_id]), range(48)))
    assert sum(outcome.applied for outcome in outcomes) == 300
    with db.transaction() as conn:
        stored = cases.read(conn, channel_id)
        entries = docket.entries(conn, channel_id)
    assert stored is not None
    assert stored.applied_seq == len(entries) == 302
    assert [entry.seq for entry in entries] == list(range(1, 303))
    assert stored.case.best_height == 300


def test_c8_what_arrives_while_the_case_is_held_needs_no_second_wake_up(db: Database) -> None:
    _, channel_id = open_channel(db, "arrives meanwhile")
    _append_heights(db, channel_id, 1, 2)
    with db.transaction() as conn:
        step = arbitration.apply_pending(conn, [channel_id])
        assert step.applied == 1
        # Another process appends, and its wake-up finds the case held: it does nothing.
        _append_heights(db, channel_id, 2, 3)
        assert arbitrate(db, [channel_id]).applied == 0
    # The holder looks again after its commit, as `arbitrate` does.
    assert arbitrate(db, [channel_id]).applied == 1


def test_c8_what_arrives_while_a_case_without_news_is_held_is_applied(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, channel_id = open_channel(db, "arrives at a case without news")
    read, arriving = docket.pending, iter([True])

    def pending(*args: Any) -> list[docket.DocketEntry]:
        entries = read(*args)
        if next(arriving, False):
            # Its own wake-up would find the case held.
            _append_heights(db, channel_id, 1, 2)
        return entries

    monkeypatch.setattr(docket, "pending", pending)
    assert arbitrate(db, [channel_id]).applied == 1


def test_p4_many_workers_on_one_channel_never_fail(db: Database) -> None:
    _, channel_id = open_channel(db, "sixty-four workers")
    with ThreadPoolExecutor(32) as pool:
        appended = [pool.submit(_append_heights, db, channel_id, h, h + 1) for h in range(1, 65)]
        worked = [pool.submit(arbitrate, db, [channel_id]) for _ in range(64)]
        futures: list[Future[Any]] = [*appended, *worked]
        for future in futures:
            future.result()
    arbitrate(db, [channel_id])
    with db.transaction() as conn:
        stored = cases.read(conn, channel_id)
        row = channels.by_ids(conn, [channel_id])[0]
    assert stored is not None
    assert stored.applied_seq == row.last_seq == 66


def test_the_door_stores_nothing_that_the_law_refuses(db: Database) -> None:
    sim, channel_id = open_channel(db, "refused at the door")
    too_early = ChannelUpdate(revoked_secret=RevokedSecret(4, sim.theirs.revoke(4)))
    with pytest.raises(OutOfOrder), db.transaction() as conn:
        arbitration.apply_at_the_door(
            conn, channel_id, ChannelUpdated((too_early,)), idempotency_key="x", source="node"
        )
    with db.transaction() as conn:
        assert len(docket.entries(conn, channel_id)) == 2


def test_the_door_answers_a_duplicate_with_the_first_place(db: Database) -> None:
    sim, channel_id = open_channel(db, "told twice")
    event = ChannelUpdated(sim.whole_move(1_000_000))

    def tell() -> docket.Appended:
        with db.transaction() as conn:
            return arbitration.apply_at_the_door(
                conn, channel_id, event, idempotency_key="again", source="node"
            )[0]

    first, second = tell(), tell()
    assert (first.seq, first.duplicate) == (3, False)
    assert (second.seq, second.duplicate) == (3, True)


def test_what_waits_is_applied_before_what_stands_at_the_door(db: Database) -> None:
    sim, channel_id = open_channel(db, "order at the door")
    _append_heights(db, channel_id, 700, 701)
    with db.transaction() as conn:
        appended, outcome = arbitration.apply_at_the_door(
            conn,
            channel_id,
            ChannelUpdated(sim.whole_move(1_000_000)),
            idempotency_key="behind",
            source="node",
        )
        stored = cases.read(conn, channel_id)
    assert (appended.seq, outcome.applied) == (4, 2)
    assert stored is not None
    assert stored.case.best_height == 700


def test_an_event_that_the_law_refuses_later_alarms_and_moves_on(db: Database) -> None:
    sim, channel_id = open_channel(db, "refused later")
    impossible = ChannelUpdated((ChannelUpdate(revoked_secret=RevokedSecret(3, sim.preimage(1))),))
    db.run(
        lambda conn: docket.append(
            conn, channel_id, impossible, idempotency_key="slipped in", source="node"
        )
    )
    _append_heights(db, channel_id, 5, 6)
    assert arbitrate(db, [channel_id]).applied == 2
    with db.transaction() as conn:
        stored = cases.read(conn, channel_id)
    assert stored is not None
    assert stored.case.best_height == 5


def test_c17_a_backlog_is_taken_up_in_bounded_parts(db: Database) -> None:
    ids = [open_channel(db, f"backlog {number}")[1] for number in range(12)]
    for channel_id in ids:
        _append_heights(db, channel_id, 1, 3)
    with db.transaction() as conn:
        assert len(docket.unapplied_channels(conn, 0, 5)) == 5
        assert len(docket.unapplied_channels(conn, 0, reconcile.LIMIT)) == 12
        per_channel = docket.pending(conn, dict.fromkeys(ids, 2), 1)
    assert len(per_channel) == 12
    assert arbitrate(db, ids).applied == 24


def test_c17_channels_on_which_the_law_breaks_do_not_fill_the_bound(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(case: Case, event: Event) -> Verdict:
        if case.channel.channel_point in defective:
            raise ZeroDivisionError
        return advance(case, event)

    opened = [open_channel(db, f"defective {number}") for number in range(3)]
    defective = {sim.channel.channel_point for sim, _ in opened}
    _, sound = open_channel(db, "sound")
    for channel_id in (*(channel_id for _, channel_id in opened), sound):
        _append_heights(db, channel_id, 1, 2)
    monkeypatch.setattr(verdicts, "advance", broken)
    for _ in range(2):
        arbitrate(db, db.run(lambda conn: docket.unapplied_channels(conn, 0, 3)))
    with db.transaction() as conn:
        left = docket.unapplied_channels(conn, 0, 10)
    assert left == [channel_id for _, channel_id in opened]
    monkeypatch.undo()
    assert arbitrate(db, left).applied == 3, "a version without the defect gets on with them"


def test_what_one_commit_asks_for_is_told_with_what_all_others_do() -> None:
    one = Outcome(1, [(1, "publish_commitment")], {2}, {"alice"}, {1}, {"bob"}, [], {3: 4})
    total = Outcome()
    total.add(one)
    assert total == one


def test_c17_a_task_whose_time_is_up_ends_and_blames_no_channel(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit falls anywhere, and mostly into the law: what was not committed is found again."""

    def slow(*_: object) -> Verdict:
        raise SoftTimeLimitExceeded

    ids = [open_channel(db, name)[1] for name in ("one", "another")]
    for channel_id in ids:
        _append_heights(db, channel_id, 1, 2)
    monkeypatch.setattr(verdicts, "advance", slow)
    for chunk in (ids, ids[:1]):
        with pytest.raises(SoftTimeLimitExceeded):
            arbitrate(db, chunk)
    with db.transaction() as conn:
        assert alarms.list_open(conn) == []
        assert docket.unapplied_channels(conn, 0, 10) == ids


def test_a_row_that_postgres_finds_damaged_stops_its_own_channel_alone(db: Database) -> None:
    _, damaged = open_channel(db, "damaged")
    _, other = open_channel(db, "sound")
    for channel_id in (damaged, other):
        _append_heights(db, channel_id, 1, 2)
    with db.transaction() as conn:
        damage_case(conn, damaged)
    assert arbitrate(db, [damaged, other]).applied == 1
    with db.transaction() as conn:
        [alarm] = alarms.list_open(conn)
    assert (alarm.channel_id, alarm.kind) == (damaged, AlarmKind.LAW_BROKEN)
    assert "missing chunk" in alarm.message


@pytest.mark.parametrize("outcome", ['"unheard_of"', '"accepted","new_fact":{"told":[7]}'])
def test_an_entry_of_a_newer_version_stops_its_own_channel_alone(
    db: Database, outcome: str
) -> None:
    """Versions work side by side during an upgrade, and the older one may have to come back."""
    _, newer = open_channel(db, "newer")
    _, other = open_channel(db, "other")
    db.run(lambda conn: append_unheard_of(conn, newer, outcome))
    _append_heights(db, other, 1, 3)
    assert arbitrate(db, [newer, other]).applied == 2
    with db.transaction() as conn:
        [alarm] = alarms.list_open(conn, channel_id=newer)
        assert docket.unapplied_channels(conn, 0, 10) == [newer]
    assert alarm.kind == AlarmKind.LAW_BROKEN


def test_a_case_of_a_newer_version_stops_its_own_channel_alone(db: Database) -> None:
    _, newer = open_channel(db, "newer case")
    _, other = open_channel(db, "other case")
    for channel_id in (newer, other):
        _append_heights(db, channel_id, 1, 2)
    store_unheard_of(db, newer)
    assert arbitrate(db, [newer, other]).applied == 1
    with db.transaction() as conn:
        assert docket.unapplied_channels(conn, 0, 10) == [newer]


def test_p7_what_only_a_newer_version_knows_of_a_case_is_not_lost(db: Database) -> None:
    """An older worker left it out, and the next newer one believed that nobody had ever told it."""
    _, newer = open_channel(db, "newer facts")
    _, other = open_channel(db, "other facts")
    for channel_id in (newer, other):
        _append_heights(db, channel_id, 1, 2)
    whole = _case_json(db, newer)
    told = whole.replace('"path":["DEFAULT"]', '"path":["DEFAULT"],"new_fact":{"told":[7]}')
    _set_case_json(db, newer, told)
    assert arbitrate(db, [newer, other]).applied == 1
    assert _case_json(db, newer) == told
    with db.transaction() as conn:
        [alarm] = alarms.list_open(conn, channel_id=newer)
        assert cases.read(conn, newer) is not None, "who only reads it goes on"
    assert alarm.kind == AlarmKind.LAW_BROKEN
    assert "new_fact" in alarm.message
    _set_case_json(db, newer, whole.replace('"path":', '"new_fact":{"told":[]},"path":'))
    assert arbitrate(db, [newer]).applied == 1, "what says nothing is not lost"
    with db.transaction() as conn:
        alarms.clear_healed(conn)
        assert alarms.list_open(conn, channel_id=newer) == []


def _case_json(db: Database, channel_id: int) -> str:
    with db.transaction() as conn:
        row = conn.execute(_CASE_JSON, {"id": channel_id}).fetchone()
    assert row is not None
    return str(row[0])


def _set_case_json(db: Database, channel_id: int, case_json: str) -> None:
    facts = {"id": channel_id, "case": case_json}
    db.run(lambda conn: conn.execute(_SET_CASE_JSON, facts))


@pytest.mark.parametrize(
    ("module", "limit", "least"),
    [
        pytest.param(cases, "MOST_BYTES", 1, id="large cases"),
        # Postgres ends a transaction that says nothing for long, and would each time anew.
        pytest.param(arbitration, "MOST_SECONDS", -1.0, id="what the law takes long for"),
    ],
)
def test_what_is_much_is_advanced_in_several_commits(
    db: Database, monkeypatch: pytest.MonkeyPatch, module: ModuleType, limit: str, least: float
) -> None:
    monkeypatch.setattr(module, limit, least)
    ids = [open_channel(db, f"much {number}")[1] for number in range(4)]
    for channel_id in ids:
        _append_heights(db, channel_id, 1, 3)
    with db.transaction() as conn:
        step = arbitration.apply_pending(conn, ids)
    assert (step.applied, step.stood) == (2, {ids[0]: 4, **dict.fromkeys(ids[1:], 2)})
    assert arbitrate(db, ids).applied == 6
    with db.transaction() as conn:
        assert docket.backlog(conn)[0] == 0


def test_an_answer_to_what_the_law_asks_at_the_door_is_applied_at_once(db: Database) -> None:
    sim, channel_id = open_channel(db, "recalled at the door")
    moved = ChannelUpdated((*sim.whole_move(9_000_000), *sim.whole_move(9_000_000)))
    tx = sim.their_commitment_tx(0)
    breach = spent(sim.channel.funding_outpoint, tx, 100)
    with db.transaction() as conn:
        for key, event in (("moved", moved), ("spent", breach)):
            _, outcome = arbitration.apply_at_the_door(
                conn, channel_id, event, idempotency_key=key, source="chain"
            )
        stored = cases.read(conn, channel_id)
        assert docket.backlog(conn)[0] == 0
    assert outcome.applied == 2, "the spend, and what was recalled of the revoked state"
    assert stored is not None
    assert stored.case.contracts
