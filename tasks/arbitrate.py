"""`contractcourt.arbitrate`: a wake-up for some channels."""

from __future__ import annotations

import structlog

from tasks import wakeups
from tasks.app import app
from tasks.arbitration import Outcome, arbitrate
from tasks.crash_points import CrashPoint, reach
from tasks.resources import resources
from tasks.sweep import sweep_at_once


@app.task(name="contractcourt.arbitrate")
def arbitrate_task(ids: list[int], idempotency_key: str) -> None:
    """Apply what waits on the dockets of these channels."""
    with structlog.contextvars.bound_contextvars(wake=idempotency_key):
        held = resources()
        outcome = arbitrate(held.db, ids)
        _hand_on_what_can_wait(outcome)
        try:
            sweep_at_once(held, outcome.pressing)
        finally:
            wakeups.sweep(outcome.urgent_sweeping, urgent=True)
        reach(CrashPoint.HANDED_ON)


def _hand_on_what_can_wait(outcome: Outcome) -> None:
    wakeups.carry_out(outcome.outbox, outcome.urgent)
    wakeups.wake(sorted(outcome.woken))
    wakeups.sweep(outcome.sweeping)
