"""Pages that follow from the code: none is out of date, and one that is gets noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from contractcourt.alarms import AlarmKind
from contractcourt.case import State
from docs.generate import alarms, configuration, state_machine
from docs.generate.__main__ import DOCS, PAGES, write_one
from tasks.settings import Settings


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_what_the_code_says(page: str) -> None:
    assert not write_one(page, check=True), "run `make docs` and commit what it writes"


def test_a_page_that_was_changed_by_hand_is_noticed_and_mended(tmp_path: Path) -> None:
    page = "reference/configuration.md"
    path = tmp_path / page
    path.parent.mkdir()
    path.write_text((DOCS / page).read_text().replace("120", "121"))
    assert write_one(page, check=True, docs=tmp_path)
    assert "121" in path.read_text()
    assert write_one(page, check=False, docs=tmp_path)
    assert path.read_text() == (DOCS / page).read_text()


def test_a_setting_without_words_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = Field(1)
    monkeypatch.setitem(Settings.model_fields, "poll_seconds", silent)
    with pytest.raises(configuration.Undescribed, match="poll_seconds"):
        configuration.write()


def test_every_setting_stands_on_its_page() -> None:
    page = configuration.write()
    for name, field in Settings.model_fields.items():
        assert f"| `{configuration.variable(name, field)}` |" in page


def test_the_drawn_machine_has_every_state_and_only_reorgs_and_splices_go_back() -> None:
    order = list(State)
    taken = list(state_machine.transitions())
    reached = {step.after for step in taken} | {State.DEFAULT}
    assert reached == set(State)
    for step in taken:
        back = order.index(step.after) < order.index(step.before)
        assert back == step.stimulus.startswith(("a reorg", "a splice")), step


def test_every_alarm_has_its_section() -> None:
    text = (DOCS / alarms.PAGE).read_text()
    assert alarms.gaps(text) == []
    told = alarms.gaps(text.replace(f"### {AlarmKind.BREACH}\n", "### brech\n"))
    assert ["lacks" in told[0], "brech" in told[1]] == [True, True]
