"""Urgent work has queues and workers of its own (docs/users_ask.md C7)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psutil
import redis

from contractcourt.events import ChannelUpdated, HeightReached
from contractcourt.units import BlockHeight
from storage import broadcasts, cases, docket, sweep_inputs, sweep_rounds
from storage.database import Connection, Database
from storage.sweep_inputs import StoredSweep
from storage.sweep_rounds import Claim
from tasks import arbitration
from tasks.arbitration import apply_at_the_door, arbitrate
from tests.legible import all_of
from tests.spent import spent
from tests.tasks.opened import open_channel
from workers.simulation.channel import SimulatedChannel

_ROOT = Path(__file__).parents[2]
_BULK_WAKE_UPS = 500_000
NOWHERE = {
    "BITCOIND_URL": "http://u:p@127.0.0.1:1",
    "CONTRACTCOURT_SIGNER_URL": "http://127.0.0.1:1",
    "CONTRACTCOURT_SIGNER_TOKEN": "0123456789abcdef",
}


@contextmanager
def worker(env: dict[str, str], ready: Path, *options: str) -> Iterator[psutil.Process]:
    """A worker of the fleet, ready for work; killed with its children at the end."""
    command = [sys.executable, "-m", "workers.cli", "worker", "--concurrency", "1"]
    log = ready.with_suffix(".log")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, *options, "--ready-file", str(ready)],
            cwd=_ROOT,
            env=env,
            stdout=out,
            stderr=out,
        )
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield psutil.Process(process.pid)
    finally:
        everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children(True)]
        for one in everyone:
            one.kill()
        process.wait()


def wait_until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    give_up_at = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def height(db: Database, channel_id: int, at: int) -> None:
    """Something for this channel to apply."""
    event = HeightReached(BlockHeight(at))
    db.run(
        lambda conn: docket.append(
            conn, channel_id, event, idempotency_key=f"height:{at}", source="chain"
        )
    )


def applied(db: Database, channel_id: int) -> int:
    with db.transaction() as conn:
        stored = cases.read(conn, channel_id)
    assert stored is not None
    return stored.applied_seq


def send(env: dict[str, str], code: str) -> None:
    command = [sys.executable, "-c", f"from tasks import wakeups; {code}"]
    subprocess.run(command, cwd=_ROOT, env=env, check=True, timeout=300)


def test_c7_the_urgent_lane_is_served_while_bulk_wake_ups_are_queued(
    db: Database, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """Five thousand messages of bulk work wait and their worker is stuck; order alone decides:
    what is urgent is done although nothing of what was queued before it has moved.
    """
    env = {**os.environ, **NOWHERE, "DATABASE_URL": database_url, "REDIS_URL": redis_url}
    env["CONTRACTCOURT_DATA_DIR"] = str(tmp_path)
    _, idle = open_channel(db, "waits with all the others")
    _, hurried = open_channel(db, "cannot wait")
    bulk = ("--name", "court@%h")
    urgent = ("--queues", "urgent", "--name", "urgent@%h")
    with (
        redis.Redis.from_url(redis_url) as broker,
        worker(env, tmp_path / "bulk.ready", *bulk) as stuck,
        worker(env, tmp_path / "urgent.ready", *urgent),
    ):
        for process in (stuck, *stuck.children(True)):
            process.send_signal(signal.SIGSTOP)
        before = [applied(db, idle), applied(db, hurried)]
        send(env, f"wakeups.wake(range({_BULK_WAKE_UPS}))")
        waiting = broker.llen("arbitrate")
        for at in (1, 2, 3):
            height(db, idle, at)
            height(db, hurried, at)
            send(env, f"wakeups.wake([{hurried}], urgent=True)")
            wait_until(lambda at=at: applied(db, hurried) == before[1] + at)  # type: ignore[misc]
        assert applied(db, idle) == before[0]
        assert broker.llen("arbitrate") == waiting >= _BULK_WAKE_UPS // arbitration.CHUNK - 1
        assert broker.llen("urgent") == 0


def breach(db: Database, name: str) -> tuple[SimulatedChannel, int, arbitration.Outcome]:
    """A channel of which the peer has just published commitment 0, revoked long ago."""
    sim, channel_id = open_channel(db, name)
    moved = ChannelUpdated((*sim.whole_move(9_000_000), *sim.whole_move(9_000_000)))
    db.run(
        lambda conn: apply_at_the_door(
            conn, channel_id, moved, idempotency_key="moved", source="node"
        )
    )
    tx = sim.their_commitment_tx(0)
    event = spent(sim.channel.funding_outpoint, tx, 100)
    db.run(
        lambda conn: docket.append(conn, channel_id, event, idempotency_key="spent", source="chain")
    )
    return sim, channel_id, arbitrate(db, [channel_id])


def test_c7_justice_asks_for_an_urgent_round_and_the_rest_for_a_calm_one(db: Database) -> None:
    sim, channel_id, outcome = breach(db, "punished at once")
    assert outcome.urgent_sweeping == {sim.node}
    with db.transaction() as conn:
        urgent = all_of(StoredSweep, sweep_inputs.free(conn, sim.node, urgent=True))
        calm = all_of(StoredSweep, sweep_inputs.free(conn, sim.node))
        assert sweep_rounds.waiting(conn, urgent=True) == [sim.node]
        assert {row.wish.effect.contract.kind.value for row in urgent} == {"revoked_to_local"}
        assert all(row.wish.effect.deadline is None for row in calm)
        assert {row.channel_id for row in (*urgent, *calm)} == {channel_id}


def test_c7_a_breach_is_punished_by_one_commit(db: Database) -> None:
    _, channel_id, outcome = breach(db, "asked and answered at once")
    assert [wish.effect.contract.kind.value for wish in outcome.pressing] == ["revoked_to_local"]
    with db.transaction() as conn:
        [(together,)] = conn.execute(
            """
            SELECT k.xmin = d.xmin FROM cases AS k JOIN docket AS d USING (channel_id)
            WHERE d.channel_id = %s AND starts_with(d.idempotency_key, 'recalled:0:')
            """,
            (channel_id,),
        ).fetchall()
    assert together


def test_c7_a_round_of_the_one_lane_does_not_hold_up_the_other(db: Database) -> None:
    sim, _, _ = breach(db, "two lanes")

    def both(conn: Connection) -> list[Claim | None]:
        sweep_rounds.ask(conn, [sim.node])
        return [
            sweep_rounds.begin(conn, sim.node, uuid4(), 60.0, urgent=urgent)
            for urgent in (False, True, True)
        ]

    calm, urgent, again = db.run(both)
    assert calm is not None
    assert urgent is not None
    assert again is None
    with db.transaction() as conn:
        assert broadcasts.to_tend(conn, sim.node, urgent=True) == []


def test_c7_what_is_urgent_is_told_to_the_urgent_queue(db: Database, redis_url: str) -> None:
    sim, _, outcome = breach(db, "told apart")
    effects = [(7, "publish_htlc_transaction"), (8, "notify_node")]
    code = (
        "from tasks import wakeups\n"
        f"wakeups.carry_out({effects!r}, {{7}})\n"
        f"wakeups.sweep({{{sim.node!r}}})\n"
        f"wakeups.sweep({outcome.urgent_sweeping!r}, urgent=True)\n"
    )
    env = {**os.environ, "REDIS_URL": redis_url}
    subprocess.run([sys.executable, "-c", code], cwd=_ROOT, env=env, check=True, timeout=60)
    with redis.Redis.from_url(redis_url) as broker:
        queues = ("urgent", "urgent_sweeps", "arbitrate", "publish", "notify")
        lengths = {queue: broker.llen(queue) for queue in queues}
    assert lengths == {"urgent": 1, "urgent_sweeps": 1, "arbitrate": 0, "publish": 1, "notify": 1}
