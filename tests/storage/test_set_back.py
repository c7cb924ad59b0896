"""Postgres' clock is set back by hours: what was written before waits no longer than it should."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from contractcourt.effects import AskLocalPoint, NotifyNode
from storage import docket, endpoints, lease, letters, outbox, set_back, sweep_rounds
from storage.database import Connection, Database
from storage.docket import NewEntry
from tests.storage import examples

_CLAIM_SECONDS = 100.0
#: As if all of it had been written by a clock that was ahead.
_WAS_AHEAD = """
    UPDATE outbox SET due_at = due_at + interval '3 hours';
    UPDATE webhook_endpoints SET open_until = open_until + interval '3 hours',
                                 busy_until = busy_until + interval '3 hours';
    UPDATE sweep_rounds SET busy_until = busy_until + interval '3 hours';
    UPDATE leases SET expires_at = expires_at + interval '3 hours';
    UPDATE unapplied SET created_at = created_at + interval '3 hours';
"""


@pytest.fixture
def channel_id(db: Database) -> int:
    with db.transaction() as conn:
        examples.add_node(conn)
        return examples.open_channel(conn)


def _set_back(conn: Connection) -> None:
    conn.execute(_WAS_AHEAD)
    set_back.mend(conn, _CLAIM_SECONDS)


def test_an_effect_that_the_signer_did_not_answer_is_due_at_once(
    db: Database, channel_id: int
) -> None:
    with db.transaction() as conn:
        row = outbox.put_many(conn, [(channel_id, AskLocalPoint(3))])[0]
        outbox.mark_unanswered(conn, row, "the signer is away")
        _set_back(conn)
        assert outbox.stale(conn, -1.0, 10) == [(row, "ask_local_point")]


def test_a_letter_is_due_at_once(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        outbox.put_many(conn, [(channel_id, NotifyNode("channel.closed", {}))])
        conn.execute(_WAS_AHEAD)
        assert endpoints.waiting(conn, -1.0) == []
        set_back.mend(conn, _CLAIM_SECONDS)
        assert endpoints.waiting(conn, -1.0) == ["alice"]


def test_what_lies_there_by_the_million_is_mended_page_by_page(
    db: Database, channel_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_back, "PAGE", 2)
    with db.transaction() as conn:
        for number in range(3):
            outbox.put_many(conn, [(channel_id, NotifyNode("channel.closed", {"number": number}))])
        outbox.put_many(conn, [(channel_id, AskLocalPoint(3))])
        conn.execute(_WAS_AHEAD)
        assert set_back.mend(conn, _CLAIM_SECONDS)
        assert len(outbox.stale(conn, -1.0, 10)) == 1, "effects come first"
        assert set_back.mend(conn, _CLAIM_SECONDS)
        assert not set_back.mend(conn, _CLAIM_SECONDS)
        assert len(letters.take(conn, "alice", 10)) == 1
        [(left,)] = conn.execute("SELECT count(*) FROM outbox WHERE due_at > now() + '1 h'")
    assert left == 0


def test_a_pause_that_is_meant_stays(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        row = outbox.put_many(conn, [(channel_id, AskLocalPoint(3))])[0]
        for _ in range(12):
            outbox.mark_refused(conn, row, "refused")
        set_back.mend(conn, _CLAIM_SECONDS)
        assert outbox.stale(conn, -60.0, 10) == []


@pytest.mark.usefixtures("channel_id")
def test_an_endpoint_is_asked_again_and_can_be_claimed(db: Database) -> None:
    with db.transaction() as conn:
        assert endpoints.claim(conn, "alice", UUID(int=1), _CLAIM_SECONDS) == 0
        endpoints.note_silence(conn, "alice", "nobody answers", leave_alone=True)
        set_back.mend(conn, _CLAIM_SECONDS)
        assert endpoints.claim(conn, "alice", UUID(int=2), _CLAIM_SECONDS) is None
        _set_back(conn)
        assert endpoints.claim(conn, "alice", UUID(int=2), _CLAIM_SECONDS) == 1


@pytest.mark.usefixtures("channel_id")
def test_a_round_whose_process_died_is_taken_up(db: Database) -> None:
    with db.transaction() as conn:
        sweep_rounds.ask(conn, ["alice"])
        assert sweep_rounds.begin(conn, "alice", UUID(int=1), _CLAIM_SECONDS) is not None
        set_back.mend(conn, _CLAIM_SECONDS)
        assert sweep_rounds.begin(conn, "alice", UUID(int=2), _CLAIM_SECONDS) is None
        _set_back(conn)
        assert sweep_rounds.waiting(conn) == ["alice"]
        assert sweep_rounds.begin(conn, "alice", UUID(int=2), _CLAIM_SECONDS) is not None


def test_the_lease_of_a_watcher_that_died_is_free(db: Database) -> None:
    with db.transaction() as conn:
        assert lease.acquire(conn, lease.CHAIN_WATCHER, uuid4(), 3.0) == 1
        assert lease.acquire(conn, lease.CHAIN_WATCHER, uuid4(), 3.0) is None
    with db.transaction() as conn:
        conn.execute(_WAS_AHEAD)
        assert lease.acquire(conn, lease.CHAIN_WATCHER, uuid4(), 3.0) == 2


def test_an_entry_whose_wake_up_was_lost_is_found(db: Database, channel_id: int) -> None:
    with db.transaction() as conn:
        docket.append_many(conn, [NewEntry(channel_id, examples.height(7), "late", "chain")])
        conn.execute(_WAS_AHEAD)
    with db.transaction() as conn:
        assert docket.unapplied_channels(conn, 1.0, 10) == [channel_id]
