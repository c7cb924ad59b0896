"""A block that touches nothing, and one with 100 due deadlines, by the number of channels.

The real watcher over a real Postgres, with every channel watched and one deadline ahead for each.
A cost is processor time, of the watcher and of its Postgres session together (users_ask L23).
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from contextlib import closing

from bench import ground, population
from bench.block_scan import block_of
from bench.quiet import quiet
from bench.synthetic_chain import SyntheticChain
from bench.timing import Stopwatch, exponent
from contractcourt.effects import WakeAt
from contractcourt.units import BlockHeight
from storage import deadlines
from storage.database import Database
from workers.chain_watcher import ChainWatcher, Step

FULL = {"largest": 1_000_000, "blocks": 60}

_DUE = 100
_SIZES = (1_000, 10_000, 100_000, 1_000_000)
#: One deadline for each channel, far ahead.
AHEAD = """
    INSERT INTO deadlines (channel_id, height, hard_height, reason, value_at_risk_sat)
    SELECT id, 1000000 + id % 1000, 1000000 + id % 1000, 'an HTLC is due', 1000
    FROM channels
    ON CONFLICT DO NOTHING
"""


def run(largest: int = 100_000, blocks: int = 30) -> dict[str, object]:
    """Milliseconds of processor time for each kind of block, by channels.

    Args:
        largest: the largest number of channels.
        blocks: blocks of each kind; the median counts.
    """
    chain = SyntheticChain([block_of(200_000, random.Random(7))[80:]])
    quiet_ms: dict[int, float] = {}
    due_ms: dict[int, float] = {}
    starts: dict[int, float] = {}
    with ground.postgres() as url, ground.database(url, max_size=1) as db, quiet():
        ids: list[int] = []
        for size in [one for one in _SIZES if one <= largest]:
            ids += population.fill(db, size - len(ids))
            with db.transaction() as conn:
                conn.execute(AHEAD)
                conn.execute("ANALYZE deadlines")
            with closing(Database(db.url, max_size=1)) as own:
                starts[size], quiet_ms[size], due_ms[size] = _measure(own, chain, ids, blocks)
    floor = min(quiet_ms.values())
    return {
        "quiet_block_cpu_ms": _rounded(quiet_ms),
        "with_100_due_cpu_ms": _rounded(due_ms),
        "quiet_most_over_least": round(max(quiet_ms.values()) / floor, 2),
        "due_most_over_least": round(max(due_ms.values()) / min(due_ms.values()), 2),
        "exponent_quiet": round(exponent(list(quiet_ms), list(quiet_ms.values())), 3),
        "exponent_due": round(exponent(list(due_ms), list(due_ms.values())), 3),
        "start_seconds": _rounded(starts),
    }


def _measure(
    db: Database, chain: SyntheticChain, ids: list[int], blocks: int
) -> tuple[float, float, float]:
    """Seconds of a start, and milliseconds of a quiet block and of one with deadlines due."""
    watcher = ChainWatcher(db, chain, network="regtest", wake=nobody, new_block=lambda: True)
    with watcher.heartbeat():
        watch = Stopwatch(db)
        chain.grow(1)
        began = watch.wall()
        while watcher.step() is Step.MOVED:
            pass
        start = watch.wall() - began
        quiet_ms = [_one_block(watcher, chain, watch) for _ in range(blocks)]
        due_ms = []
        for number in range(blocks):
            height = BlockHeight(int(chain.state().height) + 1)
            due = [ids[(number * _DUE + n) * 7 % len(ids)] for n in range(_DUE)]
            with db.transaction() as conn:
                wakes = [(c, WakeAt(height, "an HTLC is due")) for c in due]
                deadlines.add_many(conn, wakes)
            due_ms.append(_one_block(watcher, chain, watch))
        watcher.stand_down()
    return start, statistics.median(quiet_ms), statistics.median(due_ms)


def nobody(channel_ids: Sequence[int], *, urgent: bool = False) -> bool:
    """A wake-up that goes nowhere."""
    del channel_ids, urgent
    return True


def _one_block(watcher: ChainWatcher, chain: SyntheticChain, watch: Stopwatch) -> float:
    chain.grow(1)
    began = watch.cpu()
    watcher.step()
    return (watch.cpu() - began) * 1000


def _rounded(values: dict[int, float]) -> dict[int, float]:
    return {size: round(value, 2) for size, value in values.items()}
