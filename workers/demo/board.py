"""The board beside the stage: every channel, its state now, and at the end how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

AS_IT_SHOULD = "as it should"

#: Wide enough for a whole txid beside the rest.
SUMMARY_WIDTH = 170

_COLOURS = {
    "DEFAULT": "white",
    "BROADCAST_COMMIT": "yellow",
    "COMMITMENT_BROADCASTED": "yellow",
    "CONTRACT_CLOSED": "cyan",
    "WAITING_FULL_RESOLUTION": "cyan",
    "FULLY_RESOLVED": "green",
}


@dataclass(slots=True)
class Line:
    """One channel's line."""

    title: str
    channel_type: str
    state: str = "-"
    kind: str = ""
    closing_txid: str = ""
    ours: list[str] = field(default_factory=list)
    note: str = ""
    verdict: str = ""


class Board:
    """Shows lines live on a terminal; elsewhere only the scenes and the summary."""

    def __init__(self, console: Console) -> None:
        self.lines: list[Line] = []
        self._console = console
        self._scene = ""
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Board:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def scene(self, text: str) -> None:
        """Say what happens next."""
        self._scene = text
        if self._console.is_terminal:
            self.refresh()
        else:
            self._console.print(f"* {text}")

    def refresh(self) -> None:
        """Draw the present states."""
        if not self._console.is_terminal:
            return
        table = Table("channel", "type", "state", "close", "", box=None)
        for line in self.lines:
            state = Text(line.state, style=_COLOURS.get(line.state, ""))
            table.add_row(line.title, _short(line.channel_type), state, line.kind, line.note)
        self._live.update(Group(Text(self._scene, style="bold"), table), refresh=True)

    def summary(self) -> Table:
        """Every channel with its close, its transactions and its end."""
        table = Table(title="How every channel ended")
        for name in ("channel", "type", "close", "transactions", "end state", "verdict"):
            table.add_column(name, no_wrap=name == "transactions")
        for line in self.lines:
            right = line.verdict == AS_IT_SHOULD
            transactions = [f"close {line.closing_txid}", *line.ours]
            table.add_row(
                line.title,
                _short(line.channel_type),
                line.kind,
                "\n".join(transactions),
                line.state,
                Text(f"{line.verdict}\n{line.note}".strip(), style="green" if right else "red"),
            )
        return table


def _short(channel_type: str) -> str:
    return channel_type.partition("_")[0]
