"""From a block with a breach to the justice transaction in the node's hands.

First among idle channels, then while a mass close is worked off: blocks follow each other, each
with one breach, and the bulk of the wake-ups waits all the time. The clock starts when the node
has the block, and stops when it is given a transaction that spends the revoked commitment.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence

from bench.court import RunningCourt, running_court
from bench.lenient_node import LenientNode
from bench.mass_close import settle
from bench.network import Closing, breaches, found
from contractcourt.bitcoin.transaction import Transaction

FULL = {"idle": 100_000, "bulk": 50_000, "probes": 100}
_PATIENCE_SECONDS = 600
_BACKLOG = "SELECT count(*) FROM unapplied"


def run(idle: int = 400, bulk: int = 300, probes: int = 5) -> dict[str, object]:
    """Milliseconds, calm and in the storm: the median, and the 99th of a hundred.

    Args:
        idle: channels that stay open, or close in the storm.
        bulk: those of them that close in the storm.
        probes: breaches measured in each weather.
    """
    with LenientNode() as node, running_court(node.url, poll_seconds=0.1) as court:
        closings = found(court.court, range(idle))
        punished = found(court.court, breaches(2 * probes, after=idle))
        settle(court, idle + 2 * probes)
        calm = [_justice(court, node, one) for one in punished[:probes]]
        node.mine([one.raw_tx for one in closings[:bulk]])
        storm = [_justice(court, node, one) for one in punished[probes:]]
    return {
        "channels": idle,
        "closing": bulk,
        "calm": _told([ms for ms, _ in calm]),
        "storm": _told([ms for ms, _ in storm]),
        "waiting_behind": [backlog for _, backlog in storm],
    }


def _justice(court: RunningCourt, node: LenientNode, breach: Closing) -> tuple[float, int]:
    """Milliseconds to the justice transaction, and how many bulk entries waited when it came."""
    txid = Transaction.parse(breach.raw_tx).txid()
    looked_at = len(node.sent)
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
