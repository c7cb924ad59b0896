"""Asking for a force close, whoever asks: answered at once, and once accepted never forgotten."""

from __future__ import annotations

from dataclasses import dataclass

from storage.channels import ChannelRow
from storage.database import Connection
from storage.docket import Source
from tasks import force_close
from tasks.crash_points import CrashPoint, reach
from tasks.force_close import ForceCloseOutcome, NothingToPublish
from workers.gateway.addresses import find_channel
from workers.gateway.court import Court
from workers.gateway.problems import Problem
from workers.gateway.responses import ForceCloseAnswer
from workers.gateway.wakeup import WakeUp

_OPERATOR: Source = "operator"


@dataclass(frozen=True, slots=True)
class Asked:
    """The answer, its docket entry if one was written, and who is to be woken for it."""

    answer: ForceCloseAnswer
    seq: int | None
    wake_up: WakeUp


def ask(
    conn: Connection, row: ChannelRow, *, requested_by: str, reason: str, key: str, source: Source
) -> Asked:
    """Ask for a force close in the caller's transaction.

    A channel that is closed already answers with the transaction that closed it, and stores
    nothing. Before that, every request has the commitment sent again (users_ask L3).

    Raises:
        Problem: 409, the node never told a commitment of its own.
    """
    try:
        asked = force_close.request(
            conn, row, requested_by=requested_by, reason=reason, idempotency_key=key, source=source
        )
    except NothingToPublish as error:
        raise Problem("no-commitment", str(error)) from error
    accepted = asked.outcome is ForceCloseOutcome.ACCEPTED
    answer = ForceCloseAnswer(
        outcome="accepted" if accepted else "dropped",
        requested_at=None if asked.requested_at is None else asked.requested_at.isoformat(),
        closing_txid=None if asked.closing_txid is None else str(asked.closing_txid),
    )
    return Asked(answer, asked.seq, WakeUp(channels=(row.id,), publish_again=asked.send_again))


def ask_as_operator(court: Court, cp: str, *, reason: str, key: str) -> Asked:
    """The operator asks, in a transaction of its own. The same `key` gets the same answer.

    Raises:
        Problem: no such channel, or nothing to publish.
    """
    with court.db.transaction() as conn:
        asked = ask(
            conn,
            find_channel(conn, cp),
            requested_by=_OPERATOR,
            reason=reason,
            key=f"{_OPERATOR}:{key}",
            source=_OPERATOR,
        )
        reach(CrashPoint.FORCE_CLOSE_BEFORE_COMMIT)
    reach(CrashPoint.FORCE_CLOSE_COMMITTED)
    return asked
