"""Tables for people, JSON for machines. Only what was asked for goes to stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from workers.doctor.finding import Finding

STATE_COLOURS = {
    "DEFAULT": "green",
    "BROADCAST_COMMIT": "yellow",
    "COMMITMENT_BROADCASTED": "yellow",
    "CONTRACT_CLOSED": "cyan",
    "WAITING_FULL_RESOLUTION": "cyan",
    "FULLY_RESOLVED": "dim",
}


def console() -> Console:
    """Where people read; as wide as the lines are long when it is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False)


def write_json(document: Any) -> None:
    """One JSON document and a line end."""
    sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def show(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """A plain table; `empty` instead when there is no row."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        numeric = column.startswith(("sat", "height", "seq", "blocks"))
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console().print(table if table.row_count else empty)


def show_records(
    columns: Sequence[str],
    records: Sequence[Mapping[str, object]],
    *,
    as_json: bool,
    empty: str,
) -> None:
    """The same facts for both: a list of records in JSON, or a table of their values."""
    if as_json:
        write_json(records)
    else:
        show(columns, (tuple(record.values()) for record in records), empty=empty)


def show_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Name and value, a line each; what is unknown is left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts:
        if value not in (None, "", [], ()):
            table.add_row(name, _cell(value))
    console().print(table)


def show_findings(findings: Sequence[Finding]) -> None:
    """What the doctor found, the advice below what is wrong."""
    screen = console()
    for finding in findings:
        mark = "[red]wrong[/]" if finding.is_wrong else "[green]ok[/]   "
        screen.print(f"{mark} [bold]{finding.part:<9}[/] {escape(finding.words)}", soft_wrap=True)
        if finding.advice:
            screen.print(f"                {escape(finding.advice)}", soft_wrap=True)


def counted(count: int, noun: str) -> str:
    """So many of them, in words: 1 channel, 2 channels."""
    return f"{number(count)} {noun}" if count == 1 else f"{number(count)} {noun}s"


def sat(amount: int) -> str:
    """An amount with its unit: 1 000 sat."""
    return f"{number(amount)} sat"


def number(value: int) -> str:
    """With a space between thousands."""
    return f"{value:,}".replace(",", " ")


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case str() if value in STATE_COLOURS:
            return f"[{STATE_COLOURS[value]}]{value}[/]"
        case bool():
            return "yes" if value else "no"
        case int():
            return number(value)
        case _:
            return escape(str(value))
