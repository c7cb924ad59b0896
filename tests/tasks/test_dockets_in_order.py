"""Whoever writes on several dockets locks them in the order of their channels, all at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from contractcourt.advance import Verdict
from contractcourt.channel import Direction
from contractcourt.effects import SharePreimage, WakeAt
from contractcourt.events import ChannelUpdated, HeightReached
from contractcourt.units import BlockHeight
from storage import cases, deadlines, docket
from storage.database import Database
from tasks import arbitration, carrying_out
from tasks.carrying_out import Advanced
from tests.storage.blocked import wait_for_a_blocked_session
from tests.tasks.opened import open_channel

_HEIGHT = HeightReached(BlockHeight(5))


def _holding_an_htlc(db: Database, name: str) -> tuple[int, SharePreimage]:
    """A channel, and what shares the preimage of its HTLC."""
    sim, channel_id = open_channel(db, name)
    htlc = sim.htlc(1, Direction.RECEIVED, 50_000_000, 700)
    told = ChannelUpdated(sim.whole_move(0, htlc))
    with db.transaction() as conn:
        arbitration.apply_at_the_door(conn, channel_id, told, idempotency_key="u", source="node")
    return channel_id, SharePreimage(sim.node, htlc.payment_hash, sim.preimage(1))


def test_preimages_that_one_commit_shares_are_put_on_dockets_at_once(db: Database) -> None:
    (first, shares_first), (second, shares_second) = (
        _holding_an_htlc(db, name) for name in ("a", "b")
    )
    _, shown = open_channel(db, "shown")

    def share() -> frozenset[int]:
        with db.transaction() as conn:
            stored = cases.lock_one(conn, shown)
            verdict = Verdict(stored.case, (shares_second, shares_first))
            return carrying_out.write(conn, [Advanced(shown, stored.case, [verdict])]).woken

    with ThreadPoolExecutor(1) as pool:
        with db.transaction() as conn:
            docket.append(conn, first, _HEIGHT, idempotency_key="h", source="chain")
            sharing = pool.submit(share)
            wait_for_a_blocked_session(conn)
            # Nobody who waits for the first holds the second.
            docket.append(conn, second, _HEIGHT, idempotency_key="h", source="chain")
        assert sharing.result() == {first, second}


def test_deadlines_are_written_after_the_dockets_as_the_watcher_does(db: Database) -> None:
    """Else a block, and what a worker does about the one before, would wait for each other."""
    other, shares = _holding_an_htlc(db, "other")
    _, shown = open_channel(db, "shown")
    due = BlockHeight(9)
    with db.transaction() as conn:
        deadlines.add(conn, shown, WakeAt(due, "a delay runs out"))

    def share() -> frozenset[int]:
        with db.transaction() as conn:
            stored = cases.lock_one(conn, shown)
            verdict = Verdict(stored.case, (WakeAt(due, "a delay runs out"), shares))
            return carrying_out.write(conn, [Advanced(shown, stored.case, [verdict])]).woken

    with ThreadPoolExecutor(1) as pool:
        with db.transaction() as conn:
            docket.append(conn, other, _HEIGHT, idempotency_key="h", source="chain")
            sharing = pool.submit(share)
            wait_for_a_blocked_session(conn)
            deadlines.delete_fired(conn, [(shown, due)])
        assert sharing.result() == {other}
