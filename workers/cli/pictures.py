"""One case as the command line shows it to people."""

from __future__ import annotations

from workers.cli import tables
from workers.gateway.responses import ChannelView


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
