"""Golden dockets: what happened to channels once, and what the law made of it then.

`python -m tests.scenarios.golden VERSION` records the stories below under `tests/data/dockets`.
What was recorded is never changed: a later law must make the same of it, or a docket of that time
would no longer prove its case (users_ask P6). A new version gets a folder of its own.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any, cast

from contractcourt.advance import advance, open_case
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY
from contractcourt.codec import encode, from_builtins, to_builtins
from contractcourt.effects import Effect
from contractcourt.events import Event
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.stories import STORIES
from workers.simulation.channel import SimulatedChannel

FOLDER = Path(__file__).parents[1] / "data" / "dockets"
_TYPES = (ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY)


def replayed(docket: list[Any]) -> tuple[list[list[Any]], Any]:
    """For each entry [state, kinds of effects in order]; and the case at the end."""
    steps = []
    verdict = open_case(_event(docket[0]))
    steps.append([verdict.case.state.value, _kinds(verdict.effects)])
    for entry in docket[1:]:
        verdict = advance(verdict.case, _event(entry))
        steps.append([verdict.case.state.value, _kinds(verdict.effects)])
    return steps, json.loads(encode(verdict.case))


def record(version: str) -> None:
    """Tell every story, and write down its docket with what the law makes of it."""
    folder = FOLDER / version
    folder.mkdir(parents=True)
    for number, story in enumerate(STORIES):
        court = MemoryCourt()
        story(court, SimulatedChannel(f"golden {story.__name__}", _TYPES[number % 2]))
        docket = [to_builtins(event) for event in court.docket]
        steps, case = replayed(docket)
        text = json.dumps({"docket": docket, "steps": steps, "case": case}, sort_keys=True)
        path = folder / f"{story.__name__}.json.gz"
        path.write_bytes(gzip.compress(text.encode(), mtime=0))


def recorded() -> list[Path]:
    """Every docket of every version."""
    return sorted(FOLDER.glob("*/*.json.gz"))


def read(path: Path) -> Any:
    """One recording."""
    return json.loads(gzip.decompress(path.read_bytes()))


def _event(entry: Any) -> Any:
    return from_builtins(entry, cast("type[Any]", Event))


def _kinds(effects: tuple[Effect, ...]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


if __name__ == "__main__":
    record(sys.argv[1])
