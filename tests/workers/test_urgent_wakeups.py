"""The watcher tells urgent channels before all others, and apart from them (users_ask C7)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut, compact_size, sha256d
from contractcourt.effects import SweepOutput, WakeAt
from contractcourt.events import ChannelUpdated
from contractcourt.policy import Policy
from contractcourt.units import BlockHash, BlockHeight, Satoshi
from storage import blocks, deadlines, lease, sweep_inputs
from storage.database import Connection, Database
from storage.sweep_inputs import Wish
from tasks.arbitration import apply_at_the_door, arbitrate
from tasks.carrying_out import ask_for_rounds
from tests.storage import examples
from tests.storage.blocked import wait_for_a_blocked_session
from tests.tasks.opened import open_channel
from workers.simulation.channel import SimulatedChannel
from workers.watcher import following
from workers.watcher.following import Block, Woken
from workers.watcher.watchlist import Watchlist

_START = BlockHeight(500)
_OUTPUT = TxOut(1_000, b"\x51")


class Followed:
    """A chain of blocks made up here, followed from height 500."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._tip = BlockHash(b"\x05" * 32)
        self._height = _START
        self._watchlist = Watchlist()

        def begin(conn: Connection) -> int:
            blocks.init_cursor(conn, _START, self._tip)
            epoch = lease.acquire(conn, lease.CHAIN_WATCHER, uuid4(), 600)
            assert epoch is not None
            return epoch

        self._epoch = db.run(begin)

    def connect(self, *txs: Transaction) -> Woken:
        """The next block: a coinbase and these transactions."""
        coinbase = Transaction(2, (TxIn(OutPoint(bytes(32) + b"\xff" * 4)),), (_OUTPUT,), 0)
        body = compact_size(1 + len(txs))
        body += b"".join(tx.serialize() for tx in (coinbase, *txs))
        header = bytes(4) + bytes(self._tip) + bytes(44)
        found = Block(
            BlockHeight(self._height + 1), BlockHash(sha256d(header)), self._tip, header + body
        )
        self._height, self._tip = found.height, found.hash
        return self._db.run(
            lambda conn: following.connect(conn, found, self._watchlist, self._epoch)
        )


@pytest.fixture
def followed(db: Database) -> Followed:
    return Followed(db)


def two_states_further(db: Database, name: str) -> tuple[SimulatedChannel, int]:
    sim, channel_id = open_channel(db, name)
    moved = ChannelUpdated((*sim.whole_move(9_000_000), *sim.whole_move(9_000_000)))
    db.run(
        lambda conn: apply_at_the_door(
            conn, channel_id, moved, idempotency_key="moved", source="node"
        )
    )
    return sim, channel_id


def test_c7_a_breach_among_closes_is_urgent(db: Database, followed: Followed) -> None:
    cheated, cheated_id = two_states_further(db, "cheated")
    others = [two_states_further(db, f"closed {n}") for n in range(3)]
    woken = followed.connect(
        others[0][0].cooperative_tx(),
        others[1][0].our_commitment_tx(),
        cheated.their_commitment_tx(0),
        others[2][0].their_commitment_tx(),
    )
    assert woken.urgent == {cheated_id}
    assert woken.channels == {cheated_id, *(channel_id for _, channel_id in others)}


def test_c7_a_cheater_who_moves_on_is_urgent(db: Database, followed: Followed) -> None:
    """Whoever spends an output of a revoked commitment: there may be more to punish."""
    cheated, cheated_id = two_states_further(db, "cheated twice")
    tx = cheated.their_commitment_tx(0)
    followed.connect(tx)
    arbitrate(db, [cheated_id])
    outputs = tuple(TxIn(OutPoint.of(tx.txid(), n)) for n in range(len(tx.outputs)))
    moved = Transaction(2, outputs, (_OUTPUT,), 0)
    assert followed.connect(moved).urgent == {cheated_id}


def test_c7_an_expiry_is_told_apart_from_a_burial(db: Database, followed: Followed) -> None:
    _, expiring = open_channel(db, "expiring")
    _, buried = open_channel(db, "buried")
    due = BlockHeight(_START + 1)

    def add(conn: Connection) -> None:
        deadlines.add(conn, expiring, WakeAt(due, "an HTLC is due", urgent=True))
        deadlines.add(conn, expiring, WakeAt(due, "the close becomes final"))
        deadlines.add(conn, buried, WakeAt(due, "the close becomes final"))

    db.run(add)
    woken = followed.connect()
    assert woken.urgent == {expiring}
    assert woken.channels == {expiring, buried}
    with db.transaction() as conn:
        assert deadlines.list_deadlines(conn) == []


def test_p4_a_block_does_not_hold_the_rounds_while_it_waits_for_a_verdict(
    db: Database, followed: Followed
) -> None:
    """Else each waits for the other, and Postgres ends one of them."""
    sim, channel_id = open_channel(db, "sweeping")
    due = WakeAt(BlockHeight(_START + 1), "an HTLC is due", Satoshi(5), urgent=True)
    wish = Wish(sim.channel, SweepOutput(examples.contract(1), sim.sweep_script), Policy())
    with db.transaction() as conn:
        deadlines.add(conn, channel_id, due)
        sweep_inputs.want(conn, [(channel_id, wish)])
    with ThreadPoolExecutor(1) as pool:
        with db.transaction() as verdict:
            deadlines.add(verdict, channel_id, due)
            block = pool.submit(followed.connect)
            wait_for_a_blocked_session(verdict)
            verdict.execute("SET LOCAL lock_timeout = '500ms'")
            assert ask_for_rounds(verdict, [wish]) == (frozenset({sim.node}), frozenset())
        assert block.result().urgent == {channel_id}
