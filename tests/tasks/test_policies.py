"""A node's policy is told to its open channels page by page, each page one commit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from contractcourt.events import PolicyChanged
from contractcourt.policy import Policy
from contractcourt.units import Blocks
from storage import docket
from storage.database import Database
from tasks import policies
from tests.storage import examples
from tests.storage.blocked import wait_for_a_blocked_session

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
    """Two change it at once: the first ends when the second has begun, who tells all."""
    assert policies.change(db, examples.NODE, _OTHER) == ids
    late = db.run(lambda conn: policies._tell(conn, examples.NODE, _CHOSEN, "late", 0))
    assert late == ([], None)
    assert {_last(db, channel_id) for channel_id in ids} == {_OTHER}
