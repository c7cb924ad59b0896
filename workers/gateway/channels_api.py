"""Looking: channels, one case, its docket, and the heights at which money is at risk."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header

from contractcourt.case import State
from storage import alarms, broadcasts, cases, channels, deadlines, docket
from storage.alarms import Alarm
from storage.broadcasts import Broadcast
from storage.channels import ChannelRow
from storage.database import Connection
from storage.deadlines import Deadline
from workers.gateway import views
from workers.gateway.addresses import After, Limit, channel_point, unknown_channel
from workers.gateway.court import Court
from workers.gateway.responses import (
    AlarmView,
    BroadcastView,
    ChannelList,
    ChannelView,
    DeadlineList,
    DeadlineView,
    DocketPage,
    refusals,
)

#: Alarms and deadlines shown with one case.
_MOST_SHOWN = 1000


def routes(court: Court) -> APIRouter:
    """Everything under `/v1` that changes nothing."""

    def may_read(authorization: Annotated[str | None, Header()] = None) -> None:
        court.access.require_reader(authorization)

    router = APIRouter(
        prefix="/v1", tags=["look"], dependencies=[Depends(may_read)], responses=refusals(401, 503)
    )

    @router.get("/channels", responses=refusals(422))
    def list_channels(
        state: State | None = None, node: str | None = None, after: After = 0, limit: Limit = 100
    ) -> ChannelList:
        """Channels in the order they were opened, by state and node."""
        with court.db.transaction() as conn:
            # One more than asked for tells whether a page follows.
            rows = channels.list_channels(
                conn, state=state, node=node, after=after, limit=limit + 1
            )
        shown = rows[:limit]
        return ChannelList(
            channels=[views.summary(row) for row in shown],
            next_after=shown[-1].id if len(rows) > limit else None,
        )

    @router.get("/channels/{cp}", responses=refusals(404, 422))
    def show_channel(cp: str) -> ChannelView:
        """One case: state, close, contracts, broadcasts with their raw transactions, risks."""
        with court.db.transaction() as conn:
            return _channel_view(conn, _find(conn, cp))

    @router.get("/channels/{cp}/docket", responses=refusals(404, 422))
    def show_docket(cp: str, after: After = 0, limit: Limit = 100) -> DocketPage:
        """Everything that happened to a channel, in order. Secrets are blanked."""
        with court.db.transaction() as conn:
            row = _find(conn, cp)
            entries = docket.entries(conn, row.id, after=after, limit=limit + 1)
        shown = entries[:limit]
        return DocketPage(
            channel_point=str(row.channel_point),
            entries=views.docket_entries(shown),
            next_after=shown[-1].seq if len(entries) > limit else None,
        )

    @router.get("/deadlines", responses=refusals(422))
    def list_deadlines(limit: Limit = 100) -> DeadlineList:
        """Heights at which a case looks again and the money at risk there, the nearest first."""
        with court.db.transaction() as conn:
            nearest = deadlines.list_deadlines(conn, limit)
        return DeadlineList(deadlines=[_deadline(deadline) for deadline in nearest])

    return router


def _find(conn: Connection, cp: str) -> ChannelRow:
    row = channels.find(conn, channel_point(cp))
    if row is None:
        raise unknown_channel(cp)
    return row


def _channel_view(conn: Connection, row: ChannelRow) -> ChannelView:
    stored = cases.read(conn, row.id)
    if stored is None:
        raise unknown_channel(str(row.channel_point))
    case = stored.case
    local = case.local_commitment
    risks = deadlines.list_deadlines(conn, _MOST_SHOWN, channel_id=row.id)
    return ChannelView(
        **views.summary(row).model_dump(),
        channel_type=case.channel.channel_type,
        funding_outpoint=str(case.channel.funding_outpoint),
        path=[state.value for state in case.path],
        best_height=case.best_height,
        local_commitment_number=None if local is None else local.number,
        remote_commitment_numbers=[remote.number for remote in case.remote_commitments],
        close=views.close(case.funding_spend),
        force_close=views.force_close(case.force_close),
        contracts=views.contracts(case),
        broadcasts=[_broadcast(sent) for sent in broadcasts.for_channel(conn, row.id)],
        deadlines=[_deadline(deadline) for deadline in risks],
        alarms=[_alarm(alarm) for alarm in alarms.list_open(conn, channel_id=row.id)],
    )


def _broadcast(sent: Broadcast) -> BroadcastView:
    return BroadcastView(
        txid=str(sent.txid),
        purpose=sent.purpose,
        tx=str(sent.raw_tx),
        state=sent.state.value,
        attempts=sent.attempts,
        last_outcome=None if sent.last_outcome is None else sent.last_outcome.value,
        last_reason=sent.last_reason,
        last_attempt_at=sent.last_attempt_at,
    )


def _deadline(deadline: Deadline) -> DeadlineView:
    return DeadlineView(
        height=deadline.height,
        channel_point=str(deadline.channel_point),
        reason=deadline.reason,
        value_at_risk_sat=deadline.value_at_risk_sat,
    )


def _alarm(alarm: Alarm) -> AlarmView:
    return AlarmView(kind=alarm.kind, message=alarm.message, raised_at=alarm.raised_at)
