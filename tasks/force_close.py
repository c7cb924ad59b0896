"""Asking for a force close: durable, idempotent, and never waiting for anybody (P3).

The request locks no case. It is one row under a unique index and one docket entry, so it is
answered at once even while a worker holds the case.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from contractcourt.arbitrator.offer import goes_on_at, to_publish
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.case import Case
from contractcourt.events import ForceCloseRequested
from contractcourt.units import Txid
from storage import broadcasts, cases, channels, docket, force_closes
from storage.channels import ChannelRow
from storage.database import Connection
from storage.docket import Source
from tasks import wakeups
from tasks.app import app
from tasks.errors import TaskError
from tasks.resources import resources


class UnknownChannelPoint(TaskError):
    """The court watches no channel with this channel point."""


class NothingToPublish(TaskError):
    """No commitment of the node on the present funding is known: send one by channel.updated."""


class ForceCloseOutcome(StrEnum):
    """What became of a request."""

    ACCEPTED = "accepted"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class ForceCloseAnswer:
    """The answer to every request: the first one's time, and the transaction that closes.

    `requested_at` is None when the channel closed without anybody asking. `send_again` says that
    our commitment is out already and shall be sent once more.
    """

    outcome: ForceCloseOutcome
    requested_at: datetime | None
    closing_txid: Txid | None
    seq: int | None
    send_again: bool


def request(
    conn: Connection,
    row: ChannelRow,
    *,
    requested_by: str,
    reason: str,
    idempotency_key: str,
    source: Source = "operator",
) -> ForceCloseAnswer:
    """Ask for a force close of this channel, in the caller's transaction.

    Raises NothingToPublish when there is no commitment that could be published, and none was asked
    for: a later request is dropped and answered even then.
    """
    stored = cases.read(conn, row.id)
    case = stored.case if stored is not None else None
    if case is None or (_nothing_closes(case) and force_closes.find(conn, row.id) is None):
        raise NothingToPublish
    if case.closed:
        return _too_late(conn, row, case, idempotency_key)
    standing = force_closes.request(
        conn, row.id, requested_by=requested_by, reason=reason, idempotency_key=idempotency_key
    )
    seq = None
    if standing.accepted:
        event = ForceCloseRequested(standing.requested_at.isoformat(), requested_by, reason)
        key = f"force_close:{idempotency_key}"
        seq = docket.append(conn, row.id, event, idempotency_key=key, source=source).seq
    sent = broadcasts.for_channel(conn, row.id)
    return ForceCloseAnswer(
        outcome=ForceCloseOutcome.ACCEPTED if standing.accepted else ForceCloseOutcome.DROPPED,
        requested_at=standing.requested_at,
        closing_txid=_closing_txid(case),
        seq=seq,
        send_again=any(b.purpose == broadcasts.COMMITMENT and b.state == "open" for b in sent),
    )


def _too_late(
    conn: Connection, row: ChannelRow, case: Case, idempotency_key: str
) -> ForceCloseAnswer:
    """The channel is closed: nothing is asked for any more, whoever closed it.

    Whoever was accepted, and asks again because the answer was lost, hears the same.
    """
    first = force_closes.find(conn, row.id, idempotency_key)
    accepted = first is not None and first.accepted
    return ForceCloseAnswer(
        outcome=ForceCloseOutcome.ACCEPTED if accepted else ForceCloseOutcome.DROPPED,
        requested_at=None if first is None else first.requested_at,
        closing_txid=_closing_txid(case),
        seq=None,
        send_again=False,
    )


def _nothing_closes(case: Case) -> bool:
    """There is no close yet, and nothing that a force close could publish, now or a block later."""
    return case.funding_spend is None and to_publish(case) is None and goes_on_at(case) is None


def _closing_txid(case: Case) -> Txid | None:
    """What closes, or will close, the channel, as far as the case knows."""
    if case.funding_spend is not None:
        return case.funding_spend.txid
    if case.force_close is not None:
        return case.force_close.txid
    commitment = to_publish(case)
    return None if commitment is None else commitment.txid


@app.task(name="contractcourt.force_close")
def force_close_task(channel_point: str, reason: str, idempotency_key: str) -> None:
    """The same request, for who speaks Celery. Raises UnknownChannelPoint, NothingToPublish."""
    point = OutPoint.parse(channel_point)

    def ask(conn: Connection) -> int:
        row = channels.find(conn, point)
        if row is None:
            raise UnknownChannelPoint(f"no channel {channel_point} is watched")
        request(conn, row, requested_by="operator", reason=reason, idempotency_key=idempotency_key)
        return row.id

    wakeups.wake([resources().db.run(ask)])
    wakeups.new_block()
