"""The campaign's table for people and its line for machines."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tests.faults.campaign.judge import Verdict


@dataclass(frozen=True, slots=True)
class Report:
    """One campaign. Times in seconds."""

    seed: int
    channels: int
    events: int
    blocks: int
    injected: Counter[str]
    fallen: Counter[str]
    verdict: Verdict
    recoveries: list[float]
    seconds: float

    def show(self, console: Console) -> None:
        """The table, then everything that is wrong, then the JSON line."""
        table = Table("fault", "injected", title=f"Fault campaign, seed {self.seed}")
        for kind, count in sorted(self.injected.items()):
            table.add_row(kind, str(count))
        table.add_section()
        for kind, count in sorted(self.fallen.items()):
            table.add_row(f"{kind} ended by itself", str(count))
        table.add_section()
        for name, value in self._figures().items():
            table.add_row(name.replace("_", " "), str(value))
        console.print(table)
        verdict = self.verdict
        for words in (*verdict.lost, *verdict.records, *verdict.doubled, verdict.audit):
            if words:
                console.print(words, markup=False, soft_wrap=True)
        line = {"seed": self.seed, **self._figures(), "injected": dict(self.injected)}
        line["fallen"] = dict(self.fallen)
        print(json.dumps(line), flush=True)

    def _figures(self) -> dict[str, object]:
        slowest = max(self.recoveries, default=0.0)
        middle = sorted(self.recoveries)[len(self.recoveries) // 2] if self.recoveries else 0.0
        return {
            "faults": sum(self.injected.values()),
            "channels": self.channels,
            "events": self.events,
            "blocks": self.blocks,
            "lost": len(self.verdict.lost),
            "doubled": len(self.verdict.doubled),
            "audit": "clean" if not self.verdict.audit else "not clean",
            "recovered_after_seconds_median": round(middle, 1),
            "recovered_after_seconds_most": round(slowest, 1),
            "seconds": round(self.seconds),
        }
