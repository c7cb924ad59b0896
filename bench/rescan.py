"""Catching up: blocks that were mined while the court was down, and looking back through old ones.

The real watcher over a chain made up as it is read. Forward, every block is read, since any may
spend one of many watched outpoints. Backward, for one outpoint that was spent before it was
watched, block filters save the reading where the node serves them.
"""

from __future__ import annotations

import random
import time
from contextlib import closing

from bench import ground, population
from bench.block_scan import block_of
from bench.quiet import quiet
from bench.quiet_block import nobody
from bench.synthetic_chain import SyntheticChain
from bench.timing import Stopwatch
from contractcourt.bitcoin.block import spends_of
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.effects import WatchOutpoint
from contractcourt.units import BlockHeight, Script, Txid
from storage import docket, watches
from storage.database import Database
from tests.storage import examples
from workers.chain_watcher import ChainWatcher, Step

FULL = {"blocks": 10_000, "kilobytes": 200, "channels": 100_000}

_SPENT_AT = 5


def run(blocks: int = 1_000, kilobytes: int = 50, channels: int = 10_000) -> dict[str, object]:
    """Blocks a second each way, by the clock and by processor time.

    Args:
        blocks: how many were missed, or lie behind.
        kilobytes: of each block.
        channels: watched meanwhile.
    """
    source = random.Random(10_000)
    bodies = [block_of(kilobytes * 2_240, source)[80:] for _ in range(8)]
    with ground.postgres() as url, quiet():
        forward = _forward(url, bodies, blocks, channels)
        plain = _backward(url, bodies, blocks, filters=False)
        filtered = _backward(url, bodies, blocks, filters=True)
    return {
        "block_bytes": len(bodies[0]) + 80,
        "forward": forward,
        "backward_without_filters": plain,
        "backward_with_filters": filtered,
        "bytes_saved_by_filters": round(
            1 - filtered["megabytes_read"] / plain["megabytes_read"], 4
        ),
    }


def _forward(url: str, bodies: list[bytes], blocks: int, channels: int) -> dict[str, float]:
    chain = SyntheticChain(bodies)
    with ground.database(url, max_size=1) as db:
        population.fill(db, channels)
        with closing(Database(db.url, max_size=1)) as own:
            watcher = _watcher(own, chain)
            with watcher.heartbeat():
                _settle(watcher)
                chain.grow(blocks)
                watch = Stopwatch(own)
                began, worked = watch.wall(), watch.cpu()
                _settle(watcher)
                took, cpu = watch.wall() - began, watch.cpu() - worked
    raw = bytes(80) + bodies[0]
    began = time.process_time()
    for _ in range(20):
        spends_of(raw, ())
    walk = (time.process_time() - began) / 20
    return {
        "blocks": blocks,
        "watched": channels,
        "blocks_a_second": round(blocks / took, 1),
        "cpu_ms_a_block": round(cpu / blocks * 1000, 2),
        "of_that_walking_bytes_ms": round(walk * 1000, 2),
    }


def _backward(url: str, bodies: list[bytes], blocks: int, *, filters: bool) -> dict[str, float]:
    """One outpoint, spent a few blocks above the oldest one that is searched."""
    chain = SyntheticChain(bodies, filters=filters)
    chain.grow(blocks)
    outpoint = OutPoint.of(Txid(b"\x07" * 32), 1)
    script = Script(b"\x00\x20" + b"\x07" * 32)
    spend = Transaction(2, (TxIn(outpoint, sequence=0),), (TxOut(1_000, bytes(script)),), 0)
    chain.put_spend(_SPENT_AT, outpoint, script, b"\x01" + spend.serialize())
    chain.make_filters()
    with ground.database(url, max_size=1) as db:
        with db.transaction() as conn:
            examples.add_node(conn)
            channel_id = examples.open_channel(conn)
        with closing(Database(db.url, max_size=1)) as own:
            watcher = _watcher(own, chain, look_back_blocks=blocks)
            with watcher.heartbeat():
                _settle(watcher)
                with own.transaction() as conn:
                    watches.add(conn, channel_id, WatchOutpoint(outpoint, script, BlockHeight(1)))
                chain.bytes_read = 0
                watch = Stopwatch(own)
                began, worked = watch.wall(), watch.cpu()
                _settle(watcher)
                took, cpu = watch.wall() - began, watch.cpu() - worked
        with db.transaction() as conn:
            told = docket.entries(conn, channel_id)
        assert len(told) == 2, "the spend was not found"
    return {
        "blocks": blocks,
        "blocks_a_second": round(blocks / took, 1),
        "cpu_ms_a_block": round(cpu / blocks * 1000, 3),
        "megabytes_read": round(chain.bytes_read / 1e6, 3),
    }


def _watcher(db: Database, chain: SyntheticChain, *, look_back_blocks: int = 1) -> ChainWatcher:
    return ChainWatcher(
        db,
        chain,
        network="regtest",
        wake=nobody,
        new_block=lambda: True,
        look_back_blocks=look_back_blocks,
    )


def _settle(watcher: ChainWatcher) -> None:
    while watcher.step() is Step.MOVED:
        pass
