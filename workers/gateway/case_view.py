"""One whole case as the API and the command line show it."""

from __future__ import annotations

from contractcourt.case import Case
from storage import alarms, blocks, broadcasts, cases, deadlines, sweep_inputs
from storage.alarms import Alarm
from storage.broadcasts import Broadcast
from storage.channels import ChannelRow
from storage.database import Connection
from storage.deadlines import Deadline
from storage.errors import UnknownChannel
from workers.gateway import views
from workers.gateway.responses import (
    AlarmView,
    BroadcastView,
    ChannelView,
    ContractView,
    DeadlineView,
)

#: Deadlines shown with one case.
_MOST_SHOWN = 1000


def whole_case(conn: Connection, row: ChannelRow) -> ChannelView:
    """Everything known about one channel. Raises UnknownChannel when it has no case."""
    stored = cases.read(conn, row.id)
    if stored is None:
        raise UnknownChannel(f"channel {row.channel_point} has no case")
    case = stored.case
    local = case.local_commitment
    risks = deadlines.list_deadlines(conn, _MOST_SHOWN, channel_id=row.id)
    return ChannelView(
        **views.summary(row).model_dump(),
        channel_type=case.channel.channel_type,
        funding_outpoint=str(case.channel.funding_outpoint),
        path=[state.value for state in case.path],
        best_height=case.best_height or None,
        local_commitment_number=None if local is None else local.number,
        remote_commitment_numbers=[remote.number for remote in case.remote_commitments],
        close=views.close(case.funding_spend),
        force_close=views.force_close(case.force_close),
        contracts=_contracts(conn, row, case),
        broadcasts=[_broadcast(sent) for sent in broadcasts.for_channel(conn, row.id)],
        deadlines=[deadline(due) for due in risks],
        alarms=[_alarm(alarm) for alarm in alarms.list_open(conn, channel_id=row.id)],
    )


def _contracts(conn: Connection, row: ChannelRow, case: Case) -> list[ContractView]:
    """Every contract, at the height of the court's cursor."""
    cursor = blocks.cursor(conn)
    height = case.best_height if cursor is None else max(cursor.height, case.best_height)
    sweeps = {one.outpoint: one for one in sweep_inputs.of_channel(conn, row.id)}
    return [
        views.contract_view(contract, sweeps.get(contract.outpoint), case.policy, height)
        for contract in case.contracts
    ]


def _broadcast(sent: Broadcast) -> BroadcastView:
    return BroadcastView(
        txid=str(sent.txid),
        purpose=sent.purpose,
        tx=str(sent.raw_tx),
        state=sent.state.value,
        fee_sat=sent.fee_sat,
        feerate_per_kw=sent.feerate_per_kw,
        attempts=sent.attempts,
        last_outcome=None if sent.last_outcome is None else sent.last_outcome.value,
        last_reason=sent.last_reason,
        last_attempt_at=sent.last_attempt_at,
    )


def deadline(due: Deadline) -> DeadlineView:
    """One deadline, with the channel it belongs to."""
    return DeadlineView(
        height=due.height,
        channel_point=str(due.channel_point),
        reason=due.reason,
        value_at_risk_sat=due.value_at_risk_sat,
    )


def _alarm(alarm: Alarm) -> AlarmView:
    return AlarmView(kind=alarm.kind, message=alarm.message, raised_at=alarm.raised_at)
