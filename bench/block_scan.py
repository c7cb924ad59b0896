"""A full block against the watched outpoints, over the time of only walking its bytes."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable

from contractcourt.bitcoin.block import spends_of
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut, compact_size
from contractcourt.units import Txid

_FULL_WEIGHT = 4_000_000
_RUNS = 15
_SIZES = (1_000, 10_000, 100_000, 1_000_000)


def _outpoint(source: random.Random) -> OutPoint:
    return OutPoint.of(Txid(source.randbytes(32)), source.randrange(4))


def full_block(source: random.Random) -> bytes:
    """Header and transactions of two inputs and two outputs, up to the weight limit."""
    transactions: list[bytes] = []
    weight = 0
    while weight < _FULL_WEIGHT - 2_000:
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


def _median_seconds(work: Callable[[], object]) -> float:
    def once() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    once()
    return statistics.median(once() for _ in range(_RUNS))


def run() -> dict[str, object]:
    """Ratios by number of watched outpoints; the floor is the walk that watches nothing."""
    source = random.Random(2009)
    block = full_block(source)
    floor = _median_seconds(lambda: spends_of(block, ()))
    ratios = {}
    watched: set[bytes] = set()
    for size in _SIZES:
        while len(watched) < size:
            watched.add(bytes(_outpoint(source)))
        ratios[str(size)] = round(_median_seconds(lambda: spends_of(block, watched)) / floor, 2)
    return {"bytes": len(block), "floor_ms": round(floor * 1000, 2), "ratio_by_watched": ratios}
