"""A node's policy is told to its open channels page by page, each page one commit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.events import ChannelOpened, PolicyChanged
from contractcourt.policy import Policy
from contractcourt.units import Blocks, Txid
from storage import docket, nodes
from storage.database import Database
from tasks import arbitration, policies, wakeups
from tasks.reconcile import reconcile
from tasks.resources import Resources
from tests.storage import examples
from tests.storage.blocked import wait_for_a_blocked_session
from tests.tasks.opened import open_channel
from workers.simulation.channel import SimulatedChannel

_CHOSEN = Policy(final_depth=Blocks(3))
_OTHER = Policy(final_depth=Blocks(4))


@pytest.fixture
def ids(db: Database, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Three channels of one node, each a page."""
    monkeypatch.setattr(policies, "_PAGE", 1)
    with db.transaction() as conn:
        examples.add_node(conn)
        return [examples.open_channel(conn, number) for number in (1, 2, 3)]


def _last(db: Database, channel_id: int) -> Policy | None:
    [entry] = db.run(lambda conn: docket.latest(conn, channel_id, limit=1))
    return entry.event.policy if isinstance(entry.event, PolicyChanged) else None


def test_no_docket_is_held_while_others_are_told(db: Database, ids: list[int]) -> None:
    with ThreadPoolExecutor(1) as pool:
        with db.transaction() as holding:
            docket.append(holding, ids[1], examples.height(5), idempotency_key="h", source="chain")
            changing = pool.submit(policies.change, db, examples.NODE, _CHOSEN)
            wait_for_a_blocked_session(holding)
            assert _last(db, ids[0]) == _CHOSEN
        assert changing.result() == ids
    assert {_last(db, channel_id) for channel_id in ids} == {_CHOSEN}


def test_whoever_changed_it_last_is_the_last_whom_a_channel_hears(
    db: Database, ids: list[int]
) -> None:
    """Two change it at once: the first goes on with what the second has begun."""
    db.run(lambda conn: nodes.set_policy(conn, examples.NODE, _CHOSEN))
    assert db.run(lambda conn: policies._tell(conn, examples.NODE)) == ids[:1]
    assert policies.change(db, examples.NODE, _OTHER) == ids
    assert db.run(lambda conn: policies._tell(conn, examples.NODE)) is None
    assert {_last(db, channel_id) for channel_id in ids} == {_OTHER}


def test_a_change_that_was_cut_off_is_told_to_the_rest(
    db: Database, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    db.run(lambda conn: nodes.set_policy(conn, examples.NODE, _CHOSEN))
    db.run(lambda conn: policies._tell(conn, examples.NODE))
    assert policies.resume(db, 60) == [], "whoever tells it is at it"
    monkeypatch.setattr(policies, "_CUT_OFF_SECONDS", 0.0)
    assert policies.resume(db, 0) == [], "it has no time"
    assert policies.resume(db, 60) == ids[1:]
    assert {_last(db, channel_id) for channel_id in ids} == {_CHOSEN}
    assert policies.resume(db, 60) == []
    entries = db.run(lambda conn: [docket.entries(conn, channel_id) for channel_id in ids])
    assert [len(of_one) for of_one in entries] == [2, 2, 2], "each hears of it once"


def test_reconciling_goes_on_with_a_change_that_was_cut_off(
    db: Database, ids: list[int], cut_off: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "_CUT_OFF_SECONDS", 0.0)
    woken: list[list[int]] = []
    monkeypatch.setattr(wakeups, "wake", woken.append)
    db.run(lambda conn: nodes.set_policy(conn, examples.NODE, _CHOSEN))
    reconcile(cut_off)
    assert woken == [ids]
    assert {_last(db, channel_id) for channel_id in ids} == {_CHOSEN}


def test_a_policy_of_a_newer_version_is_left_to_it(
    db: Database, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "_CUT_OFF_SECONDS", 0.0)
    newer = "UPDATE nodes SET policy = replace(policy, '{', '{\"unheard_of\":1,')"
    with db.transaction() as conn:
        nodes.set_policy(conn, examples.NODE, _CHOSEN)
        conn.execute(newer)
    assert policies.resume(db, 60) == []
    with db.transaction() as conn:
        nodes.set_policy(conn, examples.NODE, _CHOSEN)
    assert policies.resume(db, 60) == ids


def test_a_channel_that_is_opened_meanwhile_hears_of_it(db: Database) -> None:
    sim, _ = open_channel(db, "first")
    with ThreadPoolExecutor(1) as pool:
        with db.transaction() as opening:
            other = SimulatedChannel("other").funded(OutPoint.of(Txid(b"o" * 32), 0))
            opened = arbitration.open_channel(
                opening, ChannelOpened(other.channel), idempotency_key="opened", source="node"
            )
            assert opened is not None
            changing = pool.submit(policies.change, db, sim.node, _CHOSEN)
            wait_for_a_blocked_session(opening)
        assert opened[0] in changing.result()
    assert _last(db, opened[0]) == _CHOSEN
