"""One case as the command line shows it to people."""

from __future__ import annotations

from rich.markup import escape

from contractcourt.units import FeeratePerKw
from workers.cli import tables
from workers.gateway.responses import ChannelView, DeadlineView
from workers.gateway.waiting import sat_per_vbyte


def show_case(view: ChannelView) -> None:
    """A page for people: facts first, then what is won or lost, then what we sent."""
    screen = tables.console()
    tables.show_facts(_facts(view))
    if view.contracts:
        screen.print("\n[bold]contracts[/]")
        tables.show(
            ("outpoint", "kind", "sat", "stage", "what happens next"),
            ((c.outpoint, c.kind, c.value_sat, c.stage, c.waits_for) for c in view.contracts),
            empty="",
        )
    if view.broadcasts:
        screen.print("\n[bold]our transactions[/] (raw hex: --json)")
        tables.show(
            ("txid", "purpose", "state", "sat fee", "sat/vB", "attempts", "last answer"),
            (
                (
                    b.txid,
                    b.purpose,
                    b.state,
                    b.fee_sat,
                    b.feerate_per_kw and sat_per_vbyte(FeeratePerKw(b.feerate_per_kw)),
                    b.attempts,
                    b.last_reason or b.last_outcome,
                )
                for b in view.broadcasts
            ),
            empty="",
        )
    for alarm in view.alarms:
        screen.print(f"\n[red]alarm[/] {alarm.kind}: {escape(alarm.message)}")


def _facts(view: ChannelView) -> list[tuple[str, object]]:
    close, force = view.close, view.force_close
    nearest = view.deadlines[0] if view.deadlines else None
    return [
        ("channel point", view.channel_point),
        ("node", view.node),
        ("type", view.channel_type),
        ("capacity", tables.sat(view.capacity_sat)),
        ("state", view.state),
        ("path", " > ".join(view.path)),
        ("last look", f"height {view.best_height}" if view.best_height else "none yet"),
        ("docket", f"{view.applied_seq} of {view.last_seq} entries applied"),
        ("our commitment", view.local_commitment_number),
        ("their commitments", ", ".join(map(str, view.remote_commitment_numbers))),
        (
            "force close",
            force and f"asked {force.requested_at} by {force.requested_by}: {force.reason or '-'}",
        ),
        ("close", close and f"{close.kind} by {close.txid} at height {close.height}"),
        ("fully resolved", view.fully_resolved_height),
        ("not decided", _undecided(view)),
        ("next look", nearest and _next_look(nearest)),
    ]


def _next_look(due: DeadlineView) -> str:
    """When, why, and what waiting beyond it would lose."""
    at_risk = f" ({tables.sat(due.value_at_risk_sat)} at risk)" if due.value_at_risk_sat else ""
    return f"height {due.height}: {due.reason}{at_risk}"


def _undecided(view: ChannelView) -> str | None:
    """What nobody has won yet; of it only what has a deadline is lost by waiting."""
    undecided = [c for c in view.contracts if c.stage not in ("spent", "resolved")]
    if not undecided:
        return None
    total = tables.sat(sum(c.value_sat for c in undecided))
    heights = [c.deadline for c in undecided if c.deadline is not None]
    nearest = f", the nearest deadline at height {min(heights)}" if heights else ""
    return f"{total} in {tables.counted(len(undecided), 'output')}{nearest}"
