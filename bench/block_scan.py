"""A full block against the watched outpoints, over the time of only walking its bytes.

And the list itself, as the watcher holds it: bytes for each outpoint, seconds to load it.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from functools import partial

from bench import ground, population
from bench.timing import exponent, median_seconds
from contractcourt.bitcoin.block import spends_of
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut, compact_size
from contractcourt.units import Txid

FULL = {"runs": 15, "largest": 1_000_000, "loaded": 1_000_000}

_FULL_WEIGHT = 4_000_000

#: In a process of its own, whose memory nothing else has touched.
_LOAD = """
import json, sys
from bench.timing import Stopwatch, resident_bytes
from storage.database import Database
from workers.watcher.watchlist import Watchlist
db = Database(sys.argv[1], max_size=1)
watch = Stopwatch(db)
with db.transaction() as conn:
    watchlist = Watchlist()
    before, began, worked = resident_bytes(), watch.wall(), watch.cpu()
    watchlist.refresh(conn)
    taken = watch.wall() - began, watch.cpu() - worked
    held = resident_bytes() - before
print(json.dumps([len(watchlist), held, *taken]))
"""


def run(runs: int = 7, largest: int = 1_000_000, loaded: int = 200_000) -> dict[str, object]:
    """Ratios by number of watched outpoints, and what the list costs.

    Args:
        runs: how often each block is read; the median counts.
        largest: the largest number of watched outpoints, in memory.
        loaded: channels whose watches the watcher loads from Postgres.
    """
    source = random.Random(2009)
    block = block_of(_FULL_WEIGHT, source)
    floor = median_seconds(lambda: spends_of(block, ()), runs)
    watched: set[bytes] = set()
    ratios: dict[int, float] = {}
    for size in (1_000, 10_000, 100_000, 1_000_000):
        if size > largest:
            break
        while len(watched) < size:
            watched.add(bytes(_outpoint(source)))
        held = dict.fromkeys(watched, (1,))
        ratios[size] = median_seconds(partial(spends_of, block, held), runs) / floor
    sizes, costs = list(ratios), list(ratios.values())
    return {
        "block_bytes": len(block),
        "walk_cpu_ms": round(floor * 1000, 2),
        "ratio_by_watched": {size: round(ratio, 2) for size, ratio in ratios.items()},
        "exponent_of_watched": round(exponent(sizes, costs), 3),
        "watchlist": _load(loaded),
    }


def _load(channels: int) -> dict[str, object]:
    """What a watcher's start does, on a real table."""
    with ground.postgres() as url, ground.database(url) as db:
        population.fill(db, channels)
        ended = subprocess.run(
            [sys.executable, "-c", _LOAD, db.url], capture_output=True, text=True, check=True
        )
    count, held, wall, worked = json.loads(ended.stdout.splitlines()[-1])
    assert count == channels
    return {
        "outpoints": count,
        "bytes_for_each": round(held / count),
        "load_seconds": round(wall, 2),
        "load_cpu_seconds": round(worked, 2),
    }


def block_of(weight_limit: int, source: random.Random) -> bytes:
    """Header and transactions of two inputs and two outputs, up to so many weight units."""
    transactions: list[bytes] = []
    weight = 0
    while weight < weight_limit - 2_000:
        inputs = tuple(
            TxIn(
                _outpoint(source), sequence=0, witness=(source.randbytes(72), source.randbytes(33))
            )
            for _ in range(2)
        )
        outputs = tuple(TxOut(1_000, b"\x00\x14" + source.randbytes(20)) for _ in range(2))
        tx = Transaction(2, inputs, outputs, 0)
        transactions.append(tx.serialize())
        weight += tx.weight()
    return bytes(80) + compact_size(len(transactions)) + b"".join(transactions)


def _outpoint(source: random.Random) -> OutPoint:
    return OutPoint.of(Txid(source.randbytes(32)), source.randrange(4))
