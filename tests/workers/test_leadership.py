"""How soon another watcher leads, by construction, and what a heartbeat keeps alive."""

from __future__ import annotations

import time
from contextlib import closing
from uuid import UUID

import pytest

from chain.bitcoin_core import BitcoinCore
from storage import lease
from storage.database import Database
from tasks.settings import Settings
from workers.chain_watcher import ChainWatcher, Step
from workers.watcher import leadership as leading
from workers.watcher.heartbeat import Heartbeat
from workers.watcher.leadership import Leadership


def test_p7_with_the_settings_as_they_are_a_take_over_takes_less_than_five_seconds(
    db: Database,
) -> None:
    """A sum of what the code waits for at most; no clock is looked at (decision 0017)."""
    settings = Settings.model_fields
    lease_seconds = float(settings["lease_seconds"].default)
    poll_seconds = float(settings["poll_seconds"].default)
    with closing(BitcoinCore("http://127.0.0.1:1")) as nowhere:
        watcher = ChainWatcher(db, nowhere, network="regtest", lease_seconds=lease_seconds)
    rests = {watcher.rest_seconds(step, 60) for step in (Step.STANDING_BY, Step.WAITING, None)}
    assert rests == {watcher.rhythm_seconds}
    assert watcher.rest_seconds(Step.RESTED, poll_seconds) == poll_seconds
    assert lease_seconds + watcher.rhythm_seconds + lease.EXPEL_MILLISECONDS / 1000 < 5


class TestHeartbeat:
    def test_it_renews_while_the_work_is_deep_in_one_block(self, db: Database) -> None:
        leader, other = Leadership(db, 1.0), Leadership(db, 1.0)
        epoch = leader.lead()
        with Heartbeat(leader):
            begun = _expiry(db)
            while _expiry(db) == begun:
                time.sleep(0.02)
            assert other.lead() is None
        assert leader.lead() == epoch

    def test_it_does_not_keep_a_lead_that_shows_no_progress(
        self, db: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        leader = Leadership(db, 1.0)
        leader.lead()
        monkeypatch.setattr(leading, "PATIENCE_SECONDS", 0.0)
        before = _expiry(db)
        leader.beat()
        assert _expiry(db) == before

    def test_c9_a_leader_that_finds_another_epoch_is_recorded_and_stands_by(
        self, db: Database
    ) -> None:
        first, second = Leadership(db, 600.0), Leadership(db, 600.0)
        assert first.lead() == 1
        with db.transaction() as conn:
            conn.execute("UPDATE leases SET expires_at = '-infinity'")
        assert second.lead() == 2
        first.beat()
        assert first.lead() is None
        with db.transaction() as conn:
            [(holder, epoch)] = conn.execute("SELECT holder, epoch FROM fencings").fetchall()
        assert isinstance(holder, UUID)
        assert epoch == 1


def _expiry(db: Database) -> object:
    with db.transaction() as conn:
        held = lease.read(conn, lease.CHAIN_WATCHER)
    assert held is not None
    return held.expires_at
