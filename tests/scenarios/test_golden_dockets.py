"""Dockets of every version so far, replayed through the law of today (users_ask P6)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.golden import FOLDER, read, recorded, replayed


def test_p6_every_version_has_dockets_of_every_end() -> None:
    ends = {read(path)["case"]["state"] for path in recorded()}
    assert "FULLY_RESOLVED" in ends
    assert {path.parent.name for path in recorded()} >= {"0.1"}
    assert len(list((FOLDER / "0.1").iterdir())) >= 20


@pytest.mark.parametrize("path", recorded(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_p6_a_golden_docket_replays_to_the_same_state(path: Path) -> None:
    """State and kinds of effects after each entry, and at the end every field of that time."""
    then = read(path)
    steps, case = replayed(then["docket"])
    assert steps == then["steps"]
    assert {name: case.get(name) for name in then["case"]} == then["case"]
