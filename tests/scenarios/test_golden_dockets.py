"""Dockets of every version so far, replayed through the law of today (users_ask P6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.golden import FOLDER, read, recorded, replayed


def test_p6_every_version_has_dockets_of_every_end() -> None:
    ends = {read(path)["case"]["state"] for path in recorded()}
    assert "FULLY_RESOLVED" in ends
    assert {path.parent.name for path in recorded()} >= {"0.1"}
    assert len(list((FOLDER / "0.1").iterdir())) >= 20


#: What the law may learn to say more of, without a case ending otherwise.
_WORDS = {"NotifyNode", "RaiseAlarm", "WakeAt"}


def deeds(steps: list[list[Any]]) -> list[tuple[str, list[str]]]:
    """After each entry the state, and what was done; not what was said."""
    return [(state, [kind for kind in kinds if kind not in _WORDS]) for state, kinds in steps]


def as_of_then(now: Any, then: Any) -> Any:
    """What there is now, of all that was written then: records may gain fields."""
    if isinstance(then, dict) and isinstance(now, dict):
        return {name: as_of_then(now.get(name), value) for name, value in then.items()}
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        return [as_of_then(one, other) for one, other in zip(now, then, strict=True)]
    return now


@pytest.mark.parametrize("path", recorded(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_p6_a_golden_docket_replays_to_the_same_state(path: Path) -> None:
    """State and deeds after each entry, and at the end every field of that time."""
    then = read(path)
    steps, case = replayed(then["docket"])
    assert deeds(steps) == deeds(then["steps"])
    assert as_of_then(case, then["case"]) == then["case"]
