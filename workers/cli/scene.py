"""How `contractcourt watch` draws a glance: what needs somebody stands above what moves."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from workers.cli.glance import Due, Glance, Moving, Raised
from workers.cli.tables import STATE_COLOURS, counted, number

#: Blocks left at which a deadline with money at risk is shown in yellow, and in red.
_SOON, _NOW = 36, 12
#: Lines of a terminal that the facts and the headings take.
_FIXED_ROWS = 12
_SHARE_OF_ALARMS = 4
_SHARE_OF_DEADLINES = 4


def draw(seen: Glance, before: Glance | None, *, rows: int | None) -> RenderableType:
    """The picture, for a terminal of so many rows; with None everything is shown."""
    free = None if rows is None else max(6, rows - _FIXED_ROWS)
    alarms = None if free is None else max(2, free // _SHARE_OF_ALARMS)
    due = None if free is None else max(2, free // _SHARE_OF_DEADLINES)
    used = min(len(seen.alarms), alarms or 0) + min(len(seen.deadlines), due or 0)
    left = None if free is None else max(2, free - used)
    return Group(
        _facts(seen),
        Text(),
        _alarms(seen, alarms),
        Text(),
        _deadlines(seen.deadlines, due),
        Text(),
        _channels(seen, before, left),
    )


def away(last: Glance | None, since: float, *, rows: int) -> RenderableType:
    """The last picture, with the word that it is old."""
    at = time.strftime("%H:%M:%S", time.localtime(since))
    words = Text(f"Postgres does not answer since {at}; trying again", style="bold red")
    return Group(words, draw(last, last, rows=rows - 1)) if last else words


def _facts(seen: Glance) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    table.add_row("height", _height(seen))
    states = (
        f"[{STATE_COLOURS[state]}]{state}[/] {number(count)}"
        for state, count in seen.states.items()
        if count
    )
    table.add_row("channels", "   ".join(states) or "none yet")
    table.add_row("not applied", _unapplied(seen))
    unsent = (f"{kind} {number(count)}" for kind, count in seen.outbox.items())
    table.add_row("not carried out", "   ".join(unsent) or "nothing")
    table.add_row("queues", _queues(seen))
    return table


def _height(seen: Glance) -> str:
    height = "no block yet" if seen.height is None else number(seen.height)
    if seen.watcher_leads:
        return f"{height}   [green]a watcher leads[/] (epoch {seen.epoch})"
    return f"{height}   [bold red]no watcher leads: start one[/]"


def _unapplied(seen: Glance) -> str:
    if not seen.unapplied:
        return "nothing"
    age = f"the oldest for {seen.oldest_unapplied_seconds:.0f} s"
    return f"{number(seen.unapplied)} docket entries, {age}"


def _queues(seen: Glance) -> str:
    if seen.queues is None:
        return "[red]Redis does not answer[/]: nothing is lost, only late"
    lengths = "   ".join(f"{name} {number(length)}" for name, length in seen.queues.items())
    return f"{lengths}   in hand {number(seen.in_hand)}"


def _alarms(seen: Glance, most: int | None) -> RenderableType:
    if not seen.alarms_open:
        return Text("no alarm is open", style="green")
    rows = ((_short(a), a.kind, escape(a.message)) for a in seen.alarms[:most])
    title = f"{counted(seen.alarms_open, 'alarm')} open"
    return _table(title, ("about", "kind", "what happened"), rows, style="red")


def _short(alarm: Raised) -> str:
    return _short_point(alarm.about) if ":" in alarm.about else escape(alarm.about)


def _deadlines(due: Sequence[Due], most: int | None) -> RenderableType:
    rows = (
        (
            number(one.height),
            number(one.blocks_left),
            f"[{_urgency(one)}]{'lost by waiting' if one.pressing else 'becomes ready'}[/]",
            number(one.count),
            f"[{_urgency(one)}]{number(one.value_sat)}[/]",
        )
        for one in due[:most]
    )
    columns = ("height", "blocks left", "what is", "outputs", "sat")
    return _table("deadlines", columns, rows, empty="nothing is due in the next four weeks")


def _urgency(due: Due) -> str:
    if not due.pressing:
        return "dim"
    if due.blocks_left <= _NOW:
        return "bold red"
    return "yellow" if due.blocks_left <= _SOON else "default"


def _channels(seen: Glance, before: Glance | None, most: int | None) -> RenderableType:
    known = {} if before is None else {one.channel_point: one for one in before.channels}
    rows = (
        (
            "[bold green]>[/]" if _moved(one, known, before) else "",
            _short_point(one.channel_point) if most else one.channel_point,
            escape(one.node),
            f"[{STATE_COLOURS.get(one.state, 'default')}]{one.state}[/]",
            one.close_kind or "-",
            number(one.at_risk_sat) if one.at_risk_sat else "-",
            "-" if one.at_risk_height is None else number(one.at_risk_height),
            number(one.not_applied) if one.not_applied else "-",
        )
        for one in seen.channels[:most]
    )
    columns = ("", "channel", "node", "state", "closed by", "sat at risk", "by", "not applied")
    return _table("in court", columns, rows, empty="no channel is in court")


def _moved(one: Moving, known: dict[str, Moving], before: Glance | None) -> bool:
    """Whether its case has taken a step since the last look."""
    if before is None:
        return False
    earlier = known.get(one.channel_point)
    return earlier is None or earlier.applied_seq != one.applied_seq


def _table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    style: str = "bold",
    empty: str = "",
) -> RenderableType:
    table = Table(
        title=title,
        title_justify="left",
        title_style=f"bold {style}",
        box=None,
        pad_edge=False,
        header_style="dim",
    )
    for column in columns:
        numeric = column in ("height", "blocks left", "outputs", "sat", "sat at risk", "by")
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table if table.row_count else Text(empty, style="dim")


def _short_point(point: str) -> str:
    txid, _, vout = point.partition(":")
    return f"{txid[:8]}..{txid[-4:]}:{vout}"
