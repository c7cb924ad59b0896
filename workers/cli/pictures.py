"""One case as the command line shows it to people."""

from __future__ import annotations

from rich.markup import escape

from contractcourt.units import FeeratePerKw
from workers.cli import tables
from workers.gateway.responses import ChannelView
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
        ("at risk", _at_risk(view)),
        ("next look", nearest and f"height {nearest.height}: {nearest.reason}"),
    ]


def _at_risk(view: ChannelView) -> str | None:
    """What is not decided yet."""
    undecided = [c for c in view.contracts if c.stage not in ("spent", "resolved")]
    if not undecided:
        return None
    total = f"{sum(c.value_sat for c in undecided):,} sat".replace(",", " ")
    heights = [c.deadline for c in undecided if c.deadline is not None]
    nearest = f", the nearest deadline at height {min(heights)}" if heights else ""
    return f"{total} in {len(undecided)} outputs{nearest}"
