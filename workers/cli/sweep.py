"""`contractcourt sweep`: what the sweeper has set aside, and letting it try again."""

from __future__ import annotations

from typing import Annotated

import typer

from contractcourt.bitcoin.outpoint import OutPoint
from storage import sweep_inputs, sweep_progress, sweep_rounds
from workers.cli import tables
from workers.cli.access import looking, transaction
from workers.cli.exits import CommandFailed
from workers.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, outpoint_of
from workers.cli.waking import wake_workers

app = typer.Typer(no_args_is_help=True, help="Outputs that could not be swept for their own fault.")


@app.command("list")
def list_quarantined(as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Outputs in quarantine, each with what was wrong with it."""
    with looking(data_dir) as conn:
        held = sweep_inputs.quarantined(conn)
    rows = [
        {
            "outpoint": str(one.outpoint),
            "channel_point": str(one.wish.channel.channel_point),
            "node": one.wish.channel.node,
            "kind": one.wish.effect.contract.kind.value,
            "value_sat": one.wish.effect.contract.value_sat,
            "reason": one.reason,
        }
        for one in held
    ]
    tables.show_records(
        ("outpoint", "channel point", "node", "kind", "sat", "what is wrong"),
        rows,
        as_json=as_json,
        empty="nothing is in quarantine",
    )


@app.command("release")
def release(
    outpoint: Annotated[OutPoint, typer.Argument(metavar="OUTPOINT", parser=outpoint_of)],
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Try an output again whose fault is mended; the sweeper takes it up at once."""
    from workers.gateway.wakeup import WakeUp

    with transaction(data_dir) as conn:
        node = sweep_progress.release(conn, outpoint)
        if node is None:
            raise CommandFailed(
                f"{outpoint} is not in quarantine: `contractcourt sweep list` shows what is"
            )
        for urgent in (True, False):
            sweep_rounds.ask(conn, [node], urgent=urgent)
    told = wake_workers(data_dir, WakeUp(nodes=(node,), urgent_nodes=(node,)))
    print(f"released: {outpoint} is swept again for {node}")
    if not told:
        print("Redis does not answer: the workers will find it at their next round")
