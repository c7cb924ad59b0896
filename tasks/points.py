"""`contractcourt.ask_local_point`: our per-commitment point, asked of the signer for the law."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import structlog

from contractcourt.alarms import AlarmKind
from contractcourt.case import Case
from contractcourt.channel import Channel
from contractcourt.effects import AskLocalPoint
from contractcourt.events import LocalPointLearned
from storage import alarms, docket, outbox
from storage.database import Connection
from storage.outbox import OutboxRow
from tasks import wakeups
from tasks.app import app
from tasks.crash_points import CrashPoint, reach
from tasks.errands import one_by_one, take
from tasks.resources import Resources, resources
from tasks.signer_client import SignerCallFailed
from tasks.signing import needs_no_signer, note_failure


@app.task(name="contractcourt.ask_local_point")
def ask_local_point_task(ids: list[int], idempotency_key: str) -> None:
    """Put the signer's answers on the dockets."""
    with structlog.contextvars.bound_contextvars(wake=idempotency_key):
        ask(resources(), ids)


def ask(held: Resources, ids: Sequence[int]) -> None:
    """One row after another, each by its case as it is now."""
    one_by_one(held, take(held, ids, "ask_local_point"), partial(_ask, held))


def _ask(held: Resources, row: OutboxRow, case: Case) -> None:
    reach(CrashPoint.POINT_TAKEN)
    assert isinstance(row.effect, AskLocalPoint)
    number = row.effect.number
    if case.wanted_local_point != number:
        # A reorg took the close, or the node has told the point. The law asks anew.
        held.db.run(lambda conn: _is_done(conn, row, case.channel))
        return
    try:
        point = held.signer.local_point(case.channel, number, case.local_commitment)
    except SignerCallFailed as error:
        failure = error
        held.db.run(lambda conn: _note_failure(conn, row, case.channel, failure))
        return

    reach(CrashPoint.POINT_LEARNED)

    def learn(conn: Connection) -> None:
        event = LocalPointLearned(number, point)
        key = f"local_point:{number}"
        docket.append(conn, row.channel_id, event, idempotency_key=key, source="court")
        _is_done(conn, row, case.channel)

    held.db.run(learn)
    reach(CrashPoint.POINT_STORED)
    wakeups.wake([row.channel_id])


def _is_done(conn: Connection, row: OutboxRow, channel: Channel) -> None:
    """Learned, or needed no more."""
    outbox.mark_sent(conn, row.id)
    alarms.clear_kind(conn, row.channel_id, AlarmKind.NO_LOCAL_POINT)
    needs_no_signer(conn, channel.node)


def _note_failure(
    conn: Connection, row: OutboxRow, channel: Channel, error: SignerCallFailed
) -> None:
    message = f"the close can't be resolved before our point is known: {error}"
    note_failure(conn, row, channel, error, AlarmKind.NO_LOCAL_POINT, message)
