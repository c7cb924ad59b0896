"""Long rounds of urgent sweeps let pass what is urgent and short (docs/users_ask.md C7)."""

from __future__ import annotations

import os

import pytest
import redis

from chain.devnet.process import DevnetProcess
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.effects import SweepOutput
from contractcourt.units import BlockHash, BlockHeight, FeeratePerKw, HexBytes, Satoshi, WeightUnits
from storage import blocks, broadcasts, sweep_inputs, sweep_rounds
from storage.broadcasts import SWEEP
from storage.database import Connection, Database
from storage.signed import Price, Signed, SpentInput, store_many
from storage.sweep_inputs import StoredSweep
from tasks import wakeups
from tasks.way import Way
from tests.conftest import free_port
from tests.legible import all_of
from tests.tasks.test_urgent_lane import NOWHERE, breach, send

_PRICE = Price(Satoshi(500), WeightUnits(400), FeeratePerKw(1_250))
_OUT = 25
_FAR_AHEAD = 400_000_000


def test_way_is_wanted_while_something_urgent_waits(redis_url: str) -> None:
    way = Way(redis_url)
    with redis.Redis.from_url(redis_url) as broker:
        assert not way.is_wanted()
        broker.rpush(wakeups.URGENT_QUEUE, "a wake-up")
        assert way.is_wanted()
        broker.delete(wakeups.URGENT_QUEUE)
        assert not way.is_wanted()
    way.close()


def test_nobody_makes_way_for_a_broker_that_is_away() -> None:
    assert not Way(f"redis://127.0.0.1:{free_port()}").is_wanted()


@pytest.fixture
def node(db: Database) -> str:
    """A node with so many urgent sweeps out, none of which was sent yet."""
    sims = [breach(db, f"breach {number}")[0] for number in range(_OUT)]
    db.run(lambda conn: blocks.init_cursor(conn, BlockHeight(100), BlockHash(bytes(32))))

    def store(conn: Connection) -> None:
        free = all_of(StoredSweep, sweep_inputs.free(conn, sims[0].node, urgent=True))
        assert len(free) == _OUT
        store_many(conn, [_swept(row) for row in free])

    db.run(store)
    return sims[0].node


def _swept(row: StoredSweep) -> Signed:
    """A sweep of this output, which no node takes yet."""
    assert isinstance(row.wish.effect, SweepOutput)
    script = row.wish.effect.sweep_script
    spends = TxIn(row.outpoint, sequence=0xFFFFFFFD)
    tx = Transaction(2, (spends,), (TxOut(10_000, script),), _FAR_AHEAD)
    spent = [SpentInput(row.outpoint, row.channel_id, _PRICE.fee_sat)]
    raw = HexBytes(tx.serialize())
    return Signed(row.channel_id, SWEEP, tx.txid(), raw, spent, _PRICE, None, urgent=True)


def _attempts(db: Database, node: str) -> list[int]:
    with db.transaction() as conn:
        out = broadcasts.to_tend(conn, node, urgent=True)
    return sorted(one.attempts for one in out)


def test_c7_a_round_makes_way_after_a_batch_and_comes_back_to_what_it_left(
    db: Database, node: str, database_url: str, redis_url: str, devnet: DevnetProcess
) -> None:
    env = {
        **os.environ,
        **NOWHERE,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "BITCOIND_URL": devnet.url,
    }
    code = (
        "from tasks.resources import resources; from tasks.sweep import sweep_node;"
        f"sweep_node(resources(), {node!r}, urgent=True)"
    )

    def do_a_round() -> None:
        send(env, code)

    with redis.Redis.from_url(redis_url) as broker:
        send(env, "wakeups.wake([1], urgent=True)")
        do_a_round()
        assert _attempts(db, node) == [0] * 5 + [1] * 20
        assert broker.llen("urgent_sweeps") == 1
        with db.transaction() as conn:
            assert sweep_rounds.waiting(conn, urgent=True) == [node]
        # Those that were left come first.
        do_a_round()
        assert _attempts(db, node) == [1] * 10 + [2] * 15
        assert broker.llen("urgent_sweeps") == 2
        broker.delete("urgent", "urgent_sweeps")
        do_a_round()
        assert _attempts(db, node) == [2] * 10 + [3] * 15
        assert broker.llen("urgent_sweeps") == 0
