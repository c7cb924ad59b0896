"""From a block with a breach to the justice transaction in the node's hands.

First among idle channels, then while another node tells of all it missed (users_ask L18), then
while the wake-ups of a mass close are queued and their workers busy elsewhere (C7), then while the
same two cores work it off: each block has one breach, and the bulk waits all the time. A block
comes when the urgent rounds of the one before are done, as it does on a chain of ten minutes; in
the storm, which would be over by then, they follow each other. It comes at any moment between two
questions of the watcher. The clock starts when the node has the block, and stops when it is given a
transaction that spends the revoked commitment.
"""

from __future__ import annotations

import http.client
import random
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain, islice

from bench import traffic
from bench.court import RunningCourt, running_court, wait_until
from bench.lenient_node import LenientNode
from bench.mass_close import settle
from bench.network import Closing, breaches, found
from bench.traffic import SignedWebhook
from contractcourt.bitcoin.transaction import Transaction
from storage import sweep_rounds
from storage.database import Database
from workers.simulation.channel import SimulatedChannel

FULL = {"idle": 100_000, "bulk": 50_000, "probes": 100, "missed": 40_000}
#: Channels that a node catches up with, and moves that it tells in one webhook.
_BEHIND, _TOLD_AT_ONCE = 20, 20
_PATIENCE_SECONDS = 600
_POLL_SECONDS = 0.1
_BACKLOG = "SELECT count(*) FROM unapplied"
_ROUNDS = f"SELECT count(*) FROM sweep_rounds AS r WHERE {sweep_rounds.DUE}"
_URGENT_ROUNDS = f"{_ROUNDS} AND r.urgent"


def run(
    idle: int = 400, bulk: int = 300, probes: int = 5, missed: int = 2_000
) -> dict[str, object]:
    """Milliseconds in each weather: the median, and the 99th of a hundred.

    Args:
        idle: channels that stay open, or close in the storm.
        bulk: those of them that close in the storm.
        probes: breaches measured in each weather.
        missed: revoked states that a node tells of while it catches up.
    """
    with LenientNode() as node, running_court(node.url, poll_seconds=_POLL_SECONDS) as court:
        closings = found(court.court, range(idle))
        first, behind, *punished = found(court.court, breaches(4 * probes + 2, after=idle))
        node_behind = NodeBehind(court, missed)
        settle(court, idle + 4 * probes + 2 + _BEHIND)
        # Processes read their libraries in when they first need them.
        first_ms, _ = _justice(court, node, first)
        calm = _at_leisure(court, node, punished[:probes])
        with node_behind.telling():
            catching_up = _at_leisure(court, node, punished[probes : 2 * probes])
        # Whoever is stopped amid a commit would hold up others with what it has locked.
        _wait_for_rest(court)
        with court.held("worker"):
            node.mine([one.raw_tx for one in closings[:bulk]])
            # A block is one commit, and the next one waits for it.
            behind_ms, _ = _justice(court, node, behind)
            queued = _at_leisure(court, node, punished[2 * probes : 3 * probes])
        storm = [_justice(court, node, one) for one in punished[3 * probes :]]
    return {
        "channels": idle,
        "closing": bulk,
        "first_after_the_start_ms": round(first_ms, 1),
        "calm": _told([ms for ms, _ in calm]),
        "catching_up": {
            **_told([ms for ms, _ in catching_up]),
            "states_told": node_behind.told,
            "states_a_second": round(node_behind.told / node_behind.seconds, 1),
        },
        "right_behind_the_bulk_block_ms": round(behind_ms, 1),
        "queued": _told([ms for ms, _ in queued]),
        "storm": _told([ms for ms, _ in storm]),
        "waiting_behind": [backlog for _, backlog in (*queued, *storm)],
    }


def _at_leisure(
    court: RunningCourt, node: LenientNode, probes: Sequence[Closing]
) -> list[tuple[float, int]]:
    """`_justice` for each, in a block that comes when what the last one asked for is done."""
    told = []
    for one in probes:
        # Breaches and HTLCs of the bulk have deadlines too, and are looked at after each block.
        wait_until(lambda: court.query(_URGENT_ROUNDS)[0][0] == 0, "the urgent rounds", 600)
        told.append(_justice(court, node, one))
    return told


def _wait_for_rest(court: RunningCourt) -> None:
    wait_until(lambda: not any(court.query(what)[0][0] for what in (_BACKLOG, _ROUNDS)), "rest")


class NodeBehind:
    """A node that was away from the court, and tells of every state that it revoked meanwhile."""

    def __init__(self, court: RunningCourt, missed: int) -> None:
        self.told, self.seconds = 0, 0.0
        self._port = int(court.endpoints["gateway"].rpartition(":")[2])
        self._over = threading.Event()
        sims = traffic.channels(_BEHIND)
        with closing(Database(court.endpoints["postgres"], max_size=1)) as db:
            self._secret, _ = traffic.open_all(db, sims, court.endpoints["webhook_key"])
        # Signed by both sides and written down before the clock runs: what is measured shares this
        # process with the Bitcoin node that it is handed to.
        self._bodies = [body for sim in sims for body in _bodies(sim, missed // _BEHIND)]

    @contextmanager
    def telling(self) -> Iterator[None]:
        """While the `with` lasts, or until all is told. Raises when it has nothing left to tell."""
        thread = threading.Thread(target=self._tell)
        thread.start()
        try:
            yield
            if not thread.is_alive():
                raise RuntimeError(f"all was told before the last breach: missed > {self.told}")
        finally:
            self._over.set()
            thread.join()

    def _tell(self) -> None:
        began = time.monotonic()
        for status in traffic.post(self._port, self._webhooks()):
            if status != http.client.ACCEPTED:
                raise RuntimeError(f"the gateway answers {status}")
            self.told += _TOLD_AT_ONCE
        self.seconds = time.monotonic() - began

    def _webhooks(self) -> Iterator[SignedWebhook]:
        for body in self._bodies:
            if self._over.is_set():
                return
            yield traffic.signed(body, self._secret)


def _bodies(sim: SimulatedChannel, states: int) -> Iterator[str]:
    """Webhooks that tell so many states of a channel, in order."""
    moves = islice(traffic.moves(sim, 2), states)
    while several := tuple(chain.from_iterable(islice(moves, _TOLD_AT_ONCE))):
        yield traffic.body(sim, several)


def _justice(court: RunningCourt, node: LenientNode, breach: Closing) -> tuple[float, int]:
    """Milliseconds to the justice transaction, and how many bulk entries waited when it came."""
    txid = Transaction.parse(breach.raw_tx).txid()
    looked_at = len(node.sent)
    time.sleep(random.uniform(0, _POLL_SECONDS))
    began = node.mine([breach.raw_tx])

    def punished() -> float | None:
        nonlocal looked_at
        for sent in node.sent[looked_at:]:
            looked_at += 1
            if any(i.outpoint.txid == txid for i in Transaction.parse(sent.raw_tx).inputs):
                return sent.at
        return None

    at: float | None = None
    give_up_at = began + _PATIENCE_SECONDS
    while (at := punished()) is None:
        if time.monotonic() > give_up_at:
            raise TimeoutError("a breach was not punished")
        time.sleep(0.005)
    backlog = court.query(_BACKLOG)[0][0]
    print(f"{(at - began) * 1000:.0f} ms, {backlog} waiting", file=sys.stderr, flush=True)
    return (at - began) * 1000, int(str(backlog))


def _told(milliseconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(milliseconds)
    return {
        "probes": len(ordered),
        "median_ms": round(statistics.median(ordered), 1),
        "p99_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 1),
        "slowest_ms": round(ordered[-1], 1),
    }
