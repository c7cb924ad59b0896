"""The whole network closes at once: from raw blocks to judged cases with their sweeps out.

Half of the channels close in one block and half in the next. What is timed is the court's work,
twice: from the two blocks with the closes until every docket is applied, and from the blocks that
bury them until every channel is CONTRACT_CLOSED or beyond with its resolutions, and every output
that can be swept by then is in a signed transaction that is stored and handed on. The time between
is the network's own.
"""

from __future__ import annotations

import sys
import time
from collections import Counter

from bench.bare_writer import Floor, bare_writer
from bench.court import Meter, RunningCourt, Taken, running_court, wait_until
from bench.floors import empty_task
from bench.lenient_node import LenientNode
from bench.network import Closing, found
from storage import sweep_rounds

FULL = {"channels": 50_000}
#: Of the channels here, and of most there are: one block with the close, two on top.
_DEPTH = 3

_ANY_UNAPPLIED = "SELECT EXISTS (SELECT 1 FROM unapplied)"
_AT = "SELECT height FROM chain_cursor"
_CLOSED = """
    SELECT count(*) FROM channels AS c JOIN channel_resolutions AS r ON r.channel_id = c.id
    WHERE c.state IN ('CONTRACT_CLOSED', 'WAITING_FULL_RESOLUTION', 'FULLY_RESOLVED')
"""
#: Wanted, not in a transaction, and not left for a reason that the sweeper gave.
_TO_SWEEP = """
    SELECT count(*) FROM sweep_inputs AS w
    WHERE w.state = 'wanted' AND w.reason IS NULL AND NOT EXISTS (
        SELECT 1 FROM broadcast_inputs AS i JOIN broadcasts AS b ON b.id = i.broadcast_id
        WHERE i.outpoint = w.outpoint AND b.state = 'open')
"""
#: A handful of rows: asked first, so that counting everything does not become what is measured.
_ROUNDS = f"SELECT count(*) FROM sweep_rounds AS r WHERE {sweep_rounds.DUE}"
_OUT = "SELECT count(*) FROM outbox WHERE sent_at IS NULL AND kind LIKE 'publish%'"
_FOUND = """
    SELECT (SELECT json_object_agg(close_kind, count) FROM (
                SELECT close_kind, count(*) FROM channel_resolutions GROUP BY 1) AS k),
           (SELECT json_object_agg(state, count) FROM (
                SELECT state, count(*) FROM channels GROUP BY 1) AS s),
           (SELECT count(*) FROM broadcasts),
           (SELECT count(*) FROM broadcast_inputs),
           (SELECT count(*) FROM contracts),
           (SELECT count(*) FROM outbox WHERE sent_at IS NULL)
"""


class Measured(Taken):
    """Of the whole close: both times, and what they took."""

    heard_seconds: float
    closed_seconds: float


def run(channels: int = 500, htlcs: int = 0) -> dict[str, object]:
    """The figures of one mass close beside its floors.

    Args:
        htlcs: on each channel that closes by a commitment (483 is a flood); 0: one on a third.
    """
    count = channels
    with LenientNode() as node, running_court(node.url) as court:
        began = time.monotonic()
        closings = found(court.court, range(count), htlcs)
        _say(f"{count} channels opened in {time.monotonic() - began:.0f} s")
        settle(court, count)
        floor_task = empty_task(court)
        measured = _close(court, node, closings)
        told = court.query(_FOUND)[0]
        floor_rows = bare_writer(court)
    return _report(count, closings, measured, told, floor_task, floor_rows)


def settle(court: RunningCourt, count: int) -> None:
    """The watcher knows every channel, and its dead rows are cleared away."""
    sql = "SELECT count(*) FROM watches WHERE NOT looked_back"
    wait_until(lambda: court.query(sql)[0][0] == 0, "the watcher to look back", 60 + count / 100)
    court.query("SELECT pg_stat_reset()")
    for table in ("cases", "docket_heads", "channels", "watches", "unapplied"):
        court.execute(f"VACUUM ANALYZE {table}")


def _close(court: RunningCourt, node: LenientNode, closings: list[Closing]) -> Measured:
    half = len(closings) // 2
    patience = 300 + len(closings) / 20
    meter = Meter(court)
    meter.start()
    node.mine([closing.raw_tx for closing in closings[:half]])
    seen_at = node.mine([closing.raw_tx for closing in closings[half:]])
    wait_until(lambda: _is_applied(court, node), "the closes to be heard", patience)
    seen = time.monotonic() - seen_at
    _say(f"heard in {seen:.1f} s")
    for _ in range(_DEPTH - 1):
        buried_at = node.mine()
    wait_until(lambda: _is_done(court, node, len(closings)), "all to be closed", patience)
    closed = time.monotonic() - buried_at
    _say(f"closed in {closed:.1f} s")
    return {"heard_seconds": seen, "closed_seconds": closed, **meter.stop()}


def _is_applied(court: RunningCourt, node: LenientNode) -> bool:
    return court.query(_AT)[0][0] == node.height and not court.query(_ANY_UNAPPLIED)[0][0]


def _is_done(court: RunningCourt, node: LenientNode, count: int) -> bool:
    if not _is_applied(court, node) or court.query(_ROUNDS)[0][0] != 0:
        return False
    if court.query(_CLOSED)[0][0] != count:
        return False
    return court.query(_TO_SWEEP)[0][0] == 0 and court.query(_OUT)[0][0] == 0


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 1)


def _report(
    count: int,
    closings: list[Closing],
    measured: Measured,
    told: tuple[object, ...],
    floor_task: dict[str, float],
    floor_rows: Floor,
) -> dict[str, object]:
    seconds = measured["heard_seconds"] + measured["closed_seconds"]
    per_channel_ms = seconds / count * 1000
    cpu_ms = measured["cpu_seconds"] / count * 1000
    return {
        "channels": count,
        "closings": dict(Counter(closing.kind.value for closing in closings)),
        "seconds": round(seconds, 2),
        "ms_per_channel": round(per_channel_ms, 3),
        "cpu_ms_per_channel": round(cpu_ms, 3),
        "empty_task": floor_task,
        "ratio_to_an_empty_task": round(per_channel_ms / floor_task["ms"], 2),
        "cpu_ratio_to_an_empty_task": round(cpu_ms / floor_task["cpu_ms"], 2),
        "bare_writer": floor_rows,
        "percent_of_the_copying_writer": _percent(floor_rows["copy"]["seconds"], seconds),
        "percent_of_it_for_each_row_once": _percent(floor_rows["copy"]["once"]["seconds"], seconds),
        "percent_of_the_inserting_writer": _percent(floor_rows["insert"]["seconds"], seconds),
        "court": measured,
        "found": dict(
            zip(
                ("kinds", "states", "broadcasts", "swept", "contracts", "unsent"),
                told,
                strict=True,
            )
        ),
    }
