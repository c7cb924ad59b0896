"""`contractcourt.reconcile`: finds in Postgres whatever Redis forgot, and says it again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import psycopg
import structlog

from contractcourt.arbitrator import following
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.case import Case
from contractcourt.effects import SweepOutput
from storage import (
    alarms,
    cases,
    docket,
    docket_parts,
    endpoints,
    outbox,
    set_back,
    sweep_inputs,
    tallies,
)
from storage.database import Connection
from storage.retries import is_retryable
from storage.sweep_inputs import Wish
from tasks import archive, policies, reserve, wakeups
from tasks.app import app
from tasks.carrying_out import ask_for_rounds
from tasks.crash_points import CrashPoint, reach
from tasks.resources import Resources, resources
from tasks.sweep import begin_all_rounds

_log = structlog.get_logger()

#: At most this much is woken at once, whatever the backlog (users_ask C17).
LIMIT = 1_000
#: Younger rows have a wake-up of their own on its way.
_OLDER_THAN_SECONDS = 1.0
#: Whoever claims a round or an endpoint does so for little more than the time limit of its task.
_LITTLE_MORE_SECONDS = 60.0
#: What else is to be found waits for no more than this.
_MENDING_SECONDS = 5.0


@app.task(name="contractcourt.reconcile")
def reconcile_task(idempotency_key: str = "") -> None:
    """Wake channels with unapplied entries, and carry out outbox rows that nobody took."""
    del idempotency_key
    reconcile(resources())


def reconcile(held: Resources) -> tuple[int, int]:
    """(channels woken, outbox rows handed on).

    Waking comes first, and what keeps us from one of the rest keeps us from no other. Raises the
    first error that Postgres had with these.
    """
    reach(CrashPoint.RECONCILE_BEGUN)
    woken = _wake(held)
    failures: list[psycopg.Error] = []
    steps: tuple[Callable[[Resources], object], ...] = (
        _make_room,
        _sweep_what_was_forgotten,
        _tell_policies,
        _mend_what_was_set_back,
        lambda held: held.db.run(alarms.clear_healed),
        lambda held: held.db.run(tallies.fold),
        lambda held: held.db.run(reserve.check),
    )
    for step in steps:
        try:
            step(held)
        except psycopg.Error as error:
            if is_retryable(error):
                raise
            failures.append(error)
    if failures:
        raise failures[0]
    return woken


def _wake(held: Resources) -> tuple[int, int]:
    begin_all_rounds(held)
    reach(CrashPoint.RECONCILE_SWEEPS)
    waiting = held.db.run(lambda conn: docket.unapplied_channels(conn, _OLDER_THAN_SECONDS, LIMIT))
    if waiting:
        wakeups.wake(waiting)
    reach(CrashPoint.RECONCILE_WOKE)
    unsent = held.db.run(lambda conn: outbox.stale(conn, _OLDER_THAN_SECONDS, LIMIT))
    if unsent:
        wakeups.carry_out(unsent)
    wakeups.deliver(held.db.run(lambda conn: endpoints.waiting(conn, _OLDER_THAN_SECONDS)))
    if waiting or unsent:
        _log.info("reconciled", channels=len(waiting), outbox=len(unsent))
    return len(waiting), len(unsent)


def _make_room(held: Resources) -> None:
    held.db.run(lambda conn: archive.make_room(conn, docket_parts.now(conn)))


def _sweep_what_was_forgotten(held: Resources) -> None:
    if held.db.run(want_forgotten_sweeps):
        begin_all_rounds(held)


def _tell_policies(held: Resources) -> None:
    if told := policies.resume(held.db, _MENDING_SECONDS):
        wakeups.wake(told)


def _mend_what_was_set_back(held: Resources) -> None:
    """Page by page; the next run goes on."""
    longest = held.settings.task_time_limit_seconds + _LITTLE_MORE_SECONDS
    ends_at = time.monotonic() + _MENDING_SECONDS
    while held.db.run(lambda conn: set_back.mend(conn, longest)) and time.monotonic() < ends_at:
        pass


def want_forgotten_sweeps(conn: Connection) -> int:
    """Ask the law anew what it wants for contracts that wait and that nobody sweeps (L1)."""
    forgotten = sweep_inputs.forgotten(conn, LIMIT)
    known = cases.legible(conn, sorted({channel_id for channel_id, _ in forgotten}))
    wishes = [
        (channel_id, wish)
        for channel_id, outpoint in forgotten
        if channel_id in known
        for wish in _wishes(known[channel_id], outpoint)
    ]
    sweep_inputs.want(conn, wishes)
    ask_for_rounds(conn, [wish for _, wish in wishes])
    return len(wishes)


def _wishes(case: Case, outpoint: OutPoint) -> Iterator[Wish]:
    for contract in case.contracts:
        if contract.outpoint == outpoint:
            for effect in following.wanted_for(case, contract):
                if isinstance(effect, SweepOutput):
                    yield Wish(case.channel, effect, case.policy)
