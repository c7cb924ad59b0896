"""One case as the command line shows it: the same JSON as the gateway's, and a page for people."""

from __future__ import annotations

from storage import alarms, broadcasts, cases, deadlines
from storage.alarms import Alarm
from storage.broadcasts import Broadcast
from storage.channels import ChannelRow
from storage.database import Connection
from storage.deadlines import Deadline
from storage.errors import UnknownChannel
from workers.cli import tables
from workers.gateway import views
from workers.gateway.responses import AlarmView, BroadcastView, ChannelView, DeadlineView

_MOST_SHOWN = 1000


def whole_case(conn: Connection, row: ChannelRow) -> ChannelView:
    """Everything known about one channel. Raises UnknownChannel when it has no case."""
    stored = cases.read(conn, row.id)
    if stored is None:
        raise UnknownChannel(f"channel {row.channel_point} has no case")
    case = stored.case
    local = case.local_commitment
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
        deadlines=[
            deadline(due) for due in deadlines.list_deadlines(conn, _MOST_SHOWN, channel_id=row.id)
        ],
        alarms=[_alarm(alarm) for alarm in alarms.list_open(conn, channel_id=row.id)],
    )


def deadline(due: Deadline) -> DeadlineView:
    """A deadline as the gateway writes it."""
    return DeadlineView(
        height=due.height,
        channel_point=str(due.channel_point),
        reason=due.reason,
        value_at_risk_sat=due.value_at_risk_sat,
    )


def show_case(view: ChannelView) -> None:
    """A page for people: facts first, then what is won or lost, then what we sent."""
    screen = tables.console()
    tables.show_facts(_facts(view))
    if view.contracts:
        screen.print("\n[bold]contracts[/]")
        tables.show(
            ("outpoint", "kind", "sat", "stage", "ours", "height spent", "spent by"),
            (
                (c.outpoint, c.kind, c.value_sat, c.stage, c.ours, c.spend_height, c.spend_txid)
                for c in view.contracts
            ),
            empty="",
        )
    if view.broadcasts:
        screen.print("\n[bold]our transactions[/] (raw hex: --json)")
        tables.show(
            ("txid", "purpose", "state", "attempts", "last answer"),
            (
                (b.txid, b.purpose, b.state, b.attempts, b.last_reason or b.last_outcome)
                for b in view.broadcasts
            ),
            empty="",
        )
    for alarm in view.alarms:
        screen.print(f"\n[red]alarm[/] {alarm.kind}: {alarm.message}", markup=True)


def _facts(view: ChannelView) -> list[tuple[str, object]]:
    close, force = view.close, view.force_close
    nearest = view.deadlines[0] if view.deadlines else None
    return [
        ("channel point", view.channel_point),
        ("node", view.node),
        ("type", view.channel_type),
        ("capacity", f"{view.capacity_sat:,} sat".replace(",", " ")),
        ("state", view.state),
        ("path", " > ".join(view.path)),
        ("height", view.best_height),
        ("docket", f"{view.applied_seq} of {view.last_seq} entries applied"),
        ("our commitment", view.local_commitment_number),
        ("their commitments", ", ".join(map(str, view.remote_commitment_numbers))),
        (
            "force close",
            force and f"{force.reason} (asked {force.requested_at} by {force.requested_by})",
        ),
        ("close", close and f"{close.kind} by {close.txid} at height {close.height}"),
        ("fully resolved", view.fully_resolved_height),
        ("next look", nearest and f"height {nearest.height}: {nearest.reason}"),
    ]


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


def _alarm(alarm: Alarm) -> AlarmView:
    return AlarmView(kind=alarm.kind, message=alarm.message, raised_at=alarm.raised_at)
