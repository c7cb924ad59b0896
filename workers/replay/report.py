"""`contractcourt replay`: every file of a folder through a court of its own, a row a file."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from contractcourt.errors import ContractCourtError
from workers.replay.fixture import Fixture, FixtureError
from workers.replay.play import Outcome, play
from workers.simulation.court import running_court

_WIDTH = 190


def run(folder: Path, json_path: Path | None = None) -> int:
    """Replay every `*.json` of `folder`; write what came of it to `json_path`, or print it.

    Returns 0 when every close was recognised and every channel fully resolved, with LDK's gain.
    Raises FixtureError when the folder holds no recording.
    """
    console = Console()
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise FixtureError(f"{folder} holds no *.json file")
    outcomes = _replay_all(paths, console)
    Console(width=max(console.width, _WIDTH)).print(_table(outcomes))
    document = json.dumps([_document(outcome) for outcome in outcomes])
    if json_path is None:
        # Alone on the last line, for whoever reads it by machine.
        print(document)
    else:
        json_path.write_text(document + "\n")
        console.print(f"every transaction of ours, with its hex: {json_path}")
    return 0 if all(not outcome.problem for outcome in outcomes) else 1


def _replay_all(paths: Sequence[Path], console: Console) -> list[Outcome]:
    """What came of each, in their order; each is said as soon as it is known."""
    outcomes: list[Outcome] = []
    stopping = threading.Event()
    # A court of its own for each: they share nothing, so as many at once as there are cores.
    with ThreadPoolExecutor(min(os.cpu_count() or 1, len(paths))) as pool:
        try:
            for future in [pool.submit(replay, path, stopping) for path in paths]:
                outcome = future.result()
                outcomes.append(outcome)
                words = f"{outcome.kind} {outcome.state} {outcome.problem}".rstrip()
                console.print(f"[dim]{len(outcomes)}/{len(paths)}[/dim] {outcome.name}: {words}")
        except BaseException:
            # Ctrl-C: those that wait never begin, and those that run end as soon as they can.
            stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return outcomes


def replay(path: Path, stopping: threading.Event | None = None) -> Outcome:
    """Replay one recording; `problem` says what was wrong with its end, if anything was."""
    outcome = Outcome(name=path.stem, expected_kind="?")
    try:
        fixture = Fixture.load(path)
        with (
            tempfile.TemporaryDirectory(prefix="contractcourt-replay-") as folder,
            running_court(Path(folder), workers=1, stopping=stopping) as court,
        ):
            outcome = play(fixture, court.client)
        outcome.problem = _problem(fixture, outcome)
    except ContractCourtError as error:
        outcome.problem = str(error)
    return outcome


def _problem(fixture: Fixture, outcome: Outcome) -> str:
    """What is wrong with this end; empty when nothing is."""
    if outcome.kind != outcome.expected_kind:
        return f"recognised as {outcome.kind}, recorded as {outcome.expected_kind}"
    if outcome.closing_txid != fixture.closing_txid:
        return f"closed by {outcome.closing_txid}, recorded {fixture.closing_txid}"
    if outcome.state != "FULLY_RESOLVED":
        return f"ended in {outcome.state}, waiting for {', '.join(outcome.waits_for)}"
    if outcome.gained_sat != outcome.recorded_gain_sat:
        return f"gained {outcome.gained_sat} sat, recorded {outcome.recorded_gain_sat} sat"
    told = (outcome.account_won_sat, outcome.account_fees_sat)
    if outcome.kind != "cooperative" and told != (outcome.gained_sat, outcome.fees_sat):
        return f"the account says {told[0]} sat won, {told[1]} sat of fees"
    if outcome.net_sat < outcome.recorded_net_sat:
        return f"net {outcome.net_sat} sat, recorded {outcome.recorded_net_sat} sat"
    return ""


def _table(outcomes: list[Outcome]) -> Table:
    table = Table(title="Recorded closings, replayed")
    for name in ("channel", "close", "end state", "our txs"):
        table.add_column(name)
    for name in ("gained sat", "fees", "recorded sat", "fees"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for o in outcomes:
        table.add_row(
            o.name,
            o.kind or "-",
            o.state,
            str(len(o.our_transactions)),
            f"{o.gained_sat:,}",
            f"{o.fees_sat:,}",
            f"{o.recorded_gain_sat:,}",
            f"{o.recorded_fees_sat:,}",
            f"[red]{o.problem}[/red]" if o.problem else "ok",
        )
    return table


def _document(outcome: Outcome) -> dict[str, object]:
    return {
        **asdict(outcome),
        "net_sat": outcome.net_sat,
        "recorded_net_sat": outcome.recorded_net_sat,
    }
