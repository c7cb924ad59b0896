"""What a case asks of its own past, a revoked state above all, is answered in the same commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from contractcourt.codec import encode
from contractcourt.events import ChannelUpdated, HeightReached
from contractcourt.units import BlockHeight
from storage import cases, docket
from storage.cases import StoredCase
from storage.database import Connection, Database
from storage.docket import NewEntry
from tasks import arbitration
from tasks.arbitration import arbitrate
from tasks.carrying_out import Advanced
from tasks.verdicts import judge
from tests.spent import spent
from tests.tasks.opened import open_channel


def _cheaters(db: Database, count: int) -> list[int]:
    """Channels of which a revoked commitment has just been seen."""
    ids, spends = [], []
    for number in range(count):
        sim, channel_id = open_channel(db, f"cheater {number}")
        moved = ChannelUpdated((*sim.whole_move(9_000_000), *sim.whole_move(9_000_000)))
        spend = spent(sim.channel.funding_outpoint, sim.their_commitment_tx(0), 100)
        with db.transaction() as conn:
            arbitration.apply_at_the_door(
                conn, channel_id, moved, idempotency_key="moved", source="node"
            )
        ids.append(channel_id)
        spends.append(NewEntry(channel_id, spend, "spent", "chain"))
    with db.transaction() as conn:
        docket.append_many(conn, spends)
    return ids


def _all_are_told_the_same(db: Database, count: int) -> bool:
    with db.transaction() as conn:
        rows = conn.execute("SELECT count(*) FROM outbox GROUP BY channel_id").fetchall()
    return len(rows) == count and len(set(rows)) == 1


def test_answers_are_applied_in_the_commit_of_their_questions_and_stored_once(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = _cheaters(db, 3)
    with db.transaction() as conn:
        before = [stored.version for stored in cases.read_many(conn, ids)]
        # They are in our hands: no room is needed to read them again.
        monkeypatch.setattr(cases, "MOST_BYTES", 1 + _size(conn, ids))
        step = arbitration.apply_pending(conn, ids)
        assert step.applied == 6, "three spends, and the answers to three questions"
        assert docket.ahead(conn, step.stood) == []
        after = [stored.version for stored in cases.read_many(conn, ids)]
    assert after == [version + 1 for version in before]
    assert _all_are_told_the_same(db, 3)


def _size(conn: Connection, ids: Sequence[int]) -> int:
    return sum(len(encode(stored.case)) for stored in cases.read_many(conn, ids))


def test_an_answer_that_comes_when_the_time_is_over_is_applied_by_the_next_commit(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the cases has moved, and is stored whether or not its answer is applied with it."""
    ids = _cheaters(db, 3)

    def slowly(stored: StoredCase, *rest: Any) -> tuple[StoredCase, Advanced]:
        if stored.channel_id == ids[-1]:
            monkeypatch.setattr(arbitration, "MOST_SECONDS", -1.0)
        return judge(stored, *rest)

    monkeypatch.setattr(arbitration, "judge", slowly)
    with db.transaction() as conn:
        step = arbitration.apply_pending(conn, ids)
        assert step.applied == 4, "three spends, and the answer to one question"
        assert docket.ahead(conn, step.stood) == ids[1:]
        assert [one.case.funding_spend is None for one in cases.read_many(conn, ids)] == [False] * 3
    assert arbitrate(db, ids).applied == 2
    assert _all_are_told_the_same(db, 3)


def test_an_answer_behind_what_had_no_room_is_applied_after_it(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    [channel_id] = _cheaters(db, 1)
    with db.transaction() as conn:
        height = HeightReached(BlockHeight(101))
        docket.append(conn, channel_id, height, idempotency_key="height", source="chain")
    monkeypatch.setattr(arbitration, "EVENTS_AT_ONCE", 1)
    arbitrate(db, [channel_id])
    with db.transaction() as conn:
        kinds = [type(one.event).__name__ for one in docket.entries(conn, channel_id, after=3)]
        assert docket.backlog(conn)[0] == 0
        [stored] = cases.read_many(conn, [channel_id])
    assert kinds[:3] == ["SpendConfirmed", "HeightReached", "RevokedStateRecalled"]
    assert stored.applied_seq == 3 + len(kinds)
    assert stored.case.contracts


def test_a_breach_costs_at_most_25_exchanges(db: Database, exchanges: list[str]) -> None:
    """On a busy host each may have to wait for a core: they are counted, not timed."""
    [channel_id] = _cheaters(db, 1)
    exchanges.clear()
    assert arbitrate(db, [channel_id]).pressing
    assert len(exchanges) <= 25, exchanges
    assert sum("INTO sweep_rounds" in statement for statement in exchanges) == 1
