"""All workers and the watcher meet at the rows of the rounds, and none waits for one that waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import Direction
from contractcourt.effects import SweepOutput
from contractcourt.events import ChannelUpdated, Event
from contractcourt.policy import Policy
from contractcourt.units import BlockHeight, Satoshi
from storage import docket, nodes, sweep_inputs, sweep_rounds
from storage.database import Connection, Database
from storage.docket import NewEntry
from storage.sweep_inputs import Wish
from tasks.arbitration import arbitrate
from tasks.carrying_out import ask_for_rounds
from tests.spent import spent
from tests.storage import examples
from tests.storage.blocked import wait_for_a_blocked_session
from tests.tasks.opened import open_channel

_NODES = ("alice", "bob")
_WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0
"""


def _wish(number: int, deadline: BlockHeight | None) -> Wish:
    effect = SweepOutput(
        examples.contract(number),
        examples.SWEEP_SCRIPT,
        deadline=deadline,
        budget_sat=Satoshi(9),
    )
    return Wish(examples.channel(number, _NODES[number % 2]), effect, Policy())


def _wait_for(conn: Connection, count: int) -> None:
    give_up_at = time.monotonic() + 60
    while conn.execute(_WAITING).fetchone() != (count,):
        assert time.monotonic() < give_up_at, f"not {count} wait"
        time.sleep(0.01)
        conn.execute("SELECT pg_stat_clear_snapshot()")


@pytest.mark.parametrize("held", _NODES)
def test_p4_found_coins_and_a_verdict_ask_for_rounds_in_one_order(db: Database, held: str) -> None:
    """Else Postgres ends one of them, and a search, or five hundred verdicts, are done again."""
    wishes = [_wish(n, BlockHeight(900) if n > 2 else None) for n in range(1, 5)]
    with db.transaction() as conn:
        for name in _NODES:
            nodes.add_node(conn, name, [examples.SWEEP_SCRIPT])
        for number, wish in enumerate(wishes, 1):
            channel_id = examples.open_channel(conn, number, wish.channel.node)
            sweep_inputs.want(conn, [(channel_id, wish)])
        sweep_rounds.ask_all(conn)

    def ask(asking: Callable[[Connection], object]) -> None:
        with db.transaction() as conn:
            asking(conn)

    with ThreadPoolExecutor(2) as pool:
        with db.transaction() as conn:
            sweep_rounds.ask(conn, [held], urgent=True)
            coins = pool.submit(ask, sweep_rounds.ask_all)
            _wait_for(conn, 1)
            verdict = pool.submit(ask, lambda conn: ask_for_rounds(conn, wishes))
            _wait_for(conn, 2)
        coins.result()
        verdict.result()


def test_p4_a_breach_does_not_hold_the_rounds_while_its_answer_is_applied(db: Database) -> None:
    """The revoked state is recalled in the same commit: what that writes may be held by others."""
    swept, sweeping = open_channel(db, "swept in the same commit")
    sim, channel_id = open_channel(db, "answered")
    htlc = sim.htlc(1, Direction.OFFERED, 20_000_000, 700)
    moved = (*sim.whole_move(1_000_000, htlc), *sim.whole_move(1_000_000))
    tx = sim.their_commitment_tx(1)
    events: list[Event] = [
        ChannelUpdated(moved),
        spent(sim.channel.funding_outpoint, tx, 100),
    ]
    entries = [NewEntry(channel_id, event, f"{n}", "node") for n, event in enumerate(events)]
    theirs = spent(swept.channel.funding_outpoint, swept.their_commitment_tx(), 100, tip_height=110)
    entries.append(NewEntry(sweeping, theirs, "spent", "chain"))
    db.run(lambda conn: docket.append_many(conn, entries))
    [vout] = [n for n, output in enumerate(tx.outputs) if output.value == 20_000]
    contract = msgspec.structs.replace(examples.contract(1), outpoint=OutPoint.of(tx.txid(), vout))
    wish = Wish(sim.channel, SweepOutput(contract, sim.sweep_script), Policy())
    with ThreadPoolExecutor(1) as pool:
        with db.transaction() as other:
            sweep_inputs.want(other, [(channel_id, wish)])
            verdict = pool.submit(arbitrate, db, [sweeping, channel_id])
            wait_for_a_blocked_session(other)
            other.execute("SET LOCAL lock_timeout = '500ms'")
            assert ask_for_rounds(other, [wish]) == (frozenset({sim.node}), frozenset())
            other.rollback()
        assert verdict.result().urgent_sweeping == {sim.node}
