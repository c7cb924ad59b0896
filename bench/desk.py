"""The operator's pages, the API, the metrics and what the command line reads, by channels.

Every answer is asked of the real gateway over HTTP, or of the function behind the command, on a
court of `bench.large_court`. Two costs are told: processor time, of this process and of its
Postgres session together, and rows, as Postgres counts those that it gives out of tables and
indexes: the second is the same however busy the machine is.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx2

from bench import ground, large_court
from bench.large_court import SILENT, YOUNG, Judged
from bench.quiet import quiet
from bench.timing import Stopwatch, exponent
from contractcourt.units import BlockHeight
from storage import (
    alarms,
    board,
    deadlines,
    docket,
    fee_reserve,
    forgetting,
    outbox,
    sight,
    sweep_inputs,
)
from storage.database import Connection, Database
from tasks.reserve import RESERVE
from tests.storage.examples import WEBHOOK_SEAL
from tests.workers.gateway.serving import serving
from workers.cli import glance
from workers.gateway.access import Access
from workers.gateway.app import create_app, metrics_of
from workers.gateway.court import Court
from workers.gateway.rates import Rate, Rates

FULL = {"largest": 1_000_000, "looks": 7}

_SIZES = (1_000, 10_000, 100_000, 1_000_000)
_NO_LIMIT = Rate(10**6, 10**6)
#: How many of what a page shows are asked for by id.
_SHOWN = 100
_FORGET_BLOCKS = 30 * 144
FLUSH = "SELECT pg_stat_force_next_flush()"
ROWS = """
    SELECT tup_returned + tup_fetched FROM pg_stat_database WHERE datname = current_database()
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one answer: milliseconds of processor time, and rows that were read."""

    cpu_ms: float
    rows: int


def run(largest: int = 10_000, looks: int = 3) -> dict[str, object]:
    """Each answer at each number of channels, and how it grows.

    Args:
        largest: the largest number of channels.
        looks: times that each is asked for; the median counts.
    """
    costs: dict[str, dict[int, Cost]] = {}
    built: dict[int, float] = {}
    with ground.postgres() as url, ground.database(url, max_size=1) as db, quiet():
        judged = large_court.begin(db)
        before = 0
        for size in [one for one in _SIZES if one <= largest]:
            began = time.monotonic()
            large_court.fill(db, judged, before, size)
            before, built[size] = size, round(time.monotonic() - began, 1)
            print(f"{size} channels in {built[size]} s", file=sys.stderr, flush=True)
            for name, cost in _measure(db, judged, size, looks).items():
                costs.setdefault(name, {})[size] = cost
    return {"built_seconds": built, "answers": {name: _told(by) for name, by in costs.items()}}


def _measure(db: Database, judged: Judged, size: int, looks: int) -> dict[str, Cost]:
    court = Court(
        db=db,
        access=Access(),
        metrics=metrics_of(db),
        wake=lambda _: None,
        webhook_seal=WEBHOOK_SEAL,
        rates=Rates(_NO_LIMIT, _NO_LIMIT),
    )
    with serving(create_app(court)) as url, httpx2.Client(base_url=url, timeout=120) as http:

        def page(path: str) -> Callable[[], object]:
            return lambda: http.get(path).raise_for_status()

        asked = {name: page(path) for name, path in paths(judged, size).items()}
        asked |= _behind(db, judged, size)
        meter = _Meter(db)
        return {name: meter.cost(work, looks) for name, work in asked.items()}


def paths(judged: Judged, size: int) -> dict[str, str]:
    """What is asked over HTTP, by a name for it."""
    late = large_court.last_id(judged, size) - 60
    return {
        "desk": "/",
        "desk, the last page": f"/?after={late}",
        "desk, of a state": "/?state=WAITING_FULL_RESOLUTION",
        "desk, of a node": f"/?node={YOUNG}",
        "desk, of a node in a state": "/?node=node7&state=CONTRACT_CLOSED",
        "desk, of a node without such": f"/?node={YOUNG}&state=FULLY_RESOLVED",
        "desk, by breach": "/?kind=breach",
        "desk, by breach of a node without": f"/?kind=breach&node={YOUNG}",
        "desk, overdue": "/?risk=overdue",
        "desk, soon": "/?risk=soon",
        "desk, with an alarm": "/?risk=alarm",
        "desk, an open case": f"/channels/{judged.open_point}",
        "desk, a closed case": f"/channels/{judged.closed_point}",
        "desk, alarms": "/alarms",
        "desk, dead letters": "/dead-letters",
        "API, channels": "/v1/channels",
        "API, the last channels": f"/v1/channels?after={late}",
        "API, of a node in a state": "/v1/channels?node=node7&state=CONTRACT_CLOSED",
        "API, of a node without such": f"/v1/channels?node={YOUNG}&state=FULLY_RESOLVED",
        "API, a channel": f"/v1/channels/{judged.closed_point}",
        "API, an account": f"/v1/channels/{judged.closed_point}/account",
        "API, a docket": f"/v1/channels/{judged.closed_point}/docket",
        "API, a node's account, a page": "/v1/nodes/node7/account?limit=100",
        "API, deadlines": "/v1/deadlines",
        "API, dead letters": "/v1/dead-letters",
        "API, dead letters of a node": f"/v1/dead-letters?endpoint={SILENT}",
        "metrics": "/metrics",
    }


def _behind(db: Database, judged: Judged, size: int) -> dict[str, Callable[[], object]]:
    """What is asked of Postgres once a second, by a command, or by the court itself."""

    def ask(work: Callable[[Connection], object]) -> Callable[[], object]:
        def asked() -> object:
            with db.looking() as conn:
                return work(conn)

        return asked

    def carry_out(work: Callable[[Connection], object]) -> Callable[[], object]:
        return lambda: db.run(work)

    last = large_court.last_id(judged, size)
    shown = range(last - _SHOWN, last)
    forget = forgetting.revoked_states(BlockHeight(large_court.TIP - _FORGET_BLOCKS))
    # What a night's run has to do is done: how the next one finds that nothing is left.
    while db.run(forget):
        pass
    return {
        "what an open page listens to": ask(lambda conn: sight.look(conn, shown)),
        "watch": lambda: glance.take(db, None, channels_shown=200, alarms_shown=20),
        "deadlines": ask(lambda conn: deadlines.nearest(conn)),
        "alarms": ask(lambda conn: alarms.list_open(conn, limit=1000)),
        "sweep list": ask(sweep_inputs.quarantined),
        "completion of a channel": ask(lambda conn: board.latest_in_court(conn, 1000)),
        "reconcile, fee wallets": carry_out(lambda conn: fee_reserve.lacking(conn, RESERVE)),
        "reconcile, what nobody applied": carry_out(
            lambda conn: docket.unapplied_channels(conn, 0.0, 1000)
        ),
        "reconcile, what nobody sweeps": carry_out(lambda conn: sweep_inputs.forgotten(conn, 1000)),
        "reconcile, what nobody carried out": carry_out(lambda conn: outbox.stale(conn, 0.0, 1000)),
        "archive, what nobody punishes any more": carry_out(forget),
    }


class _Meter:
    """Counts what one session of Postgres and this process do for an answer."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._watch = Stopwatch(db)
        self._own = 0
        self._own = min(self._rows_of(lambda: None) for _ in range(5))

    def cost(self, work: Callable[[], object], looks: int) -> Cost:
        """The median of some times, after one that does not count."""
        work()
        rows = min(self._rows_of(work) for _ in range(2))
        return Cost(statistics.median(self._cpu_ms(work) for _ in range(looks)), rows)

    def _cpu_ms(self, work: Callable[[], object]) -> float:
        began = self._watch.cpu()
        work()
        return (self._watch.cpu() - began) * 1000

    def _rows_of(self, work: Callable[[], object]) -> int:
        began = self._rows()
        work()
        return max(self._rows() - began - self._own, 0)

    def _rows(self) -> int:
        with self._db.transaction() as conn:
            conn.execute(FLUSH)
        with self._db.transaction() as conn:
            [(rows,)] = conn.execute(ROWS).fetchall()
        return int(rows)


def _told(by_size: dict[int, Cost]) -> dict[str, object]:
    sizes = list(by_size)
    cpu = [max(cost.cpu_ms, 0.01) for cost in by_size.values()]
    rows = [cost.rows for cost in by_size.values()]
    return {
        "cpu_ms": {size: round(cost.cpu_ms, 2) for size, cost in by_size.items()},
        "rows": {size: cost.rows for size, cost in by_size.items()},
        "cpu_largest_over_smallest": round(cpu[-1] / cpu[0], 2),
        "cpu_exponent": round(exponent(sizes, cpu), 3) if len(sizes) > 1 else None,
        "rows_exponent": (
            round(exponent(sizes, [max(one, 1) for one in rows]), 3) if len(sizes) > 1 else None
        ),
    }
