"""Redis forgets and dies while thousands of channels close: `make storm CHANNELS=10000` (C4).

The network, the node and the court are those of `bench/mass_close`. Eighty channels, one of each
kind of close, type and HTLC, close in calm weather first; then all the others in one block, while
Redis is flushed and killed. Each must end as the one of its kind did. Exit code 1 if one does not.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from random import Random

import redis

from bench.court import RunningCourt, running_court, wait_until
from bench.lenient_node import LenientNode
from bench.mass_close import settle
from bench.network import Closing, found
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.units import BlockHeight
from storage import quiet
from storage.database import Database

#: Channels after which kind, type and HTLC of a number come again.
_KINDS = 80
#: Blocks after which the slowest of the closes here are final.
_DEPTH = 3
#: Of each storm, so that it ends.
_MOST_FAULTS = 40
_FLUSHES_TO_A_KILL = 3

ENDS = """
    SELECT encode(r.closing_txid, 'hex'), c.state, r.close_kind,
           (SELECT json_agg(json_build_array(k.kind, k.value_sat, k.stage, w.state,
                        EXISTS (SELECT 1 FROM broadcast_inputs AS i
                                WHERE i.outpoint = k.outpoint))
                    ORDER BY k.kind, k.value_sat, k.stage)::text
            FROM contracts AS k LEFT JOIN sweep_inputs AS w USING (outpoint)
            WHERE k.channel_id = c.id),
           (SELECT array_agg(DISTINCT o.effect::jsonb ->> 'event_type')
            FROM outbox AS o WHERE o.channel_id = c.id AND o.kind = 'notify_node')
    FROM channels AS c JOIN channel_resolutions AS r ON r.channel_id = c.id
"""
_OPEN = "SELECT count(*) FROM channels WHERE closed_id IS NULL"
_UNAPPLIED = "SELECT count(*) FROM unapplied"
COMMITTED_TWICE = """
    SELECT channel_id FROM broadcasts WHERE purpose = 'commitment'
    GROUP BY channel_id HAVING count(*) > 1
"""


@dataclass(slots=True)
class Storm:
    """What Redis suffers, and how long nothing moved although Redis was there."""

    court: RunningCourt
    random: Random
    injected: Counter[str] = field(default_factory=Counter)
    longest_standstill: float = 0.0
    _next_at: float = 0.0
    _waiting: int = 0
    _moved_at: float = 0.0

    def look(self) -> None:
        """One fault more when it is time; and whether anything moved since the last look."""
        now = time.monotonic()
        if now >= self._next_at and self.injected.total() < _MOST_FAULTS:
            self._strike()
            self._next_at = now + self.random.uniform(0.5, 5.0)
        waiting = int(str(self.court.query(_UNAPPLIED)[0][0]))
        if waiting and waiting == self._waiting and self._redis_answers():
            self.longest_standstill = max(self.longest_standstill, now - self._moved_at)
        else:
            self._waiting, self._moved_at = waiting, now

    def _redis_answers(self) -> bool:
        with redis.Redis.from_url(self.court.endpoints["redis"]) as broker:
            try:
                return bool(broker.ping())
            except redis.RedisError:
                return False

    def _strike(self) -> None:
        if self.injected.total() % (_FLUSHES_TO_A_KILL + 1) == _FLUSHES_TO_A_KILL:
            for pid, part in self.court.processes().items():
                if part == "redis":
                    os.kill(pid, signal.SIGKILL)
                    self.injected["Redis killed"] += 1
            return
        with (
            suppress(redis.RedisError),
            redis.Redis.from_url(self.court.endpoints["redis"]) as broker,
        ):
            broker.flushall()
            self.injected["Redis flushed"] += 1


def storm(channels: int, seed: int) -> dict[str, object]:
    """One storm; `wrong` in the answer is empty if every channel ended as it should."""
    began = time.monotonic()
    with LenientNode() as node, running_court(node.url) as court:
        calm = found(court.court, range(_KINDS))
        settle(court, _KINDS)
        _close(court, node, calm, None)
        ends = _ends(court)
        expected = [ends[_txid(one)] for one in calm]
        closings = found(court.court, range(_KINDS, _KINDS + channels))
        settle(court, _KINDS + channels)
        _say(f"{channels} channels opened after {time.monotonic() - began:.0f} s")
        weather = Storm(court, Random(seed))
        seconds = _close(court, node, closings, weather)
        ends = _ends(court)
        wrong = [
            f"channel {number}: {ends.get(_txid(one))}, in calm weather {expected[number % _KINDS]}"
            for number, one in enumerate(closings, start=_KINDS)
            if ends.get(_txid(one)) != expected[number % _KINDS]
        ]
        wrong += [f"channel id {row[0]}: two commitments" for row in court.query(COMMITTED_TWICE)]
        audit = _audit(court)
    return {
        "channels": channels,
        "seed": seed,
        "injected": dict(weather.injected),
        "different_ends": len(set(expected)),
        "closing_seconds": round(seconds, 1),
        "longest_standstill_seconds": round(weather.longest_standstill, 1),
        "seconds": round(time.monotonic() - began),
        "wrong": [*wrong, *audit],
    }


def _close(
    court: RunningCourt, node: LenientNode, closings: Sequence[Closing], weather: Storm | None
) -> float:
    """All in one block, then blocks until all is final; how many seconds it took."""
    began = time.monotonic()
    patience = 300 + len(closings) / 5
    with closing(Database(court.endpoints["postgres"], max_size=1)) as db:

        def at_rest() -> bool:
            if weather is not None:
                weather.look()
            with db.transaction() as conn:
                return quiet.at_rest(conn, BlockHeight(node.height))

        node.mine([one.raw_tx for one in closings])
        for _ in range(_DEPTH):
            wait_until(at_rest, "the closes to be worked off", patience)
            _say(f"at rest at {node.height} after {time.monotonic() - began:.0f} s")
            node.mine()
        wait_until(at_rest, "the court to come to rest", patience)
        wait_until(lambda: court.query(_OPEN)[0][0] == 0, "all to be closed", patience)
    return time.monotonic() - began


def _ends(court: RunningCourt) -> dict[str, tuple[str, ...]]:
    """Txid of a close to how it ended, for every channel that is closed."""
    return {str(row[0]): tuple(str(one) for one in row[1:]) for row in court.query(ENDS)}


def _txid(one: Closing) -> str:
    """As the rows have it."""
    return bytes(Transaction.parse(one.raw_tx).txid()).hex()


def _audit(court: RunningCourt) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "workers.cli", "audit"],
        env=court.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return [] if done.returncode == 0 else [(done.stdout + done.stderr).strip()]


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def main() -> int:
    """Print one storm's figures as JSON."""
    parser = argparse.ArgumentParser(prog="make storm", description=__doc__)
    parser.add_argument("--channels", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    told = storm(arguments.channels, arguments.seed)
    print(json.dumps(told, indent=2))
    return 1 if told["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
