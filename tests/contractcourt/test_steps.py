"""The table of a case's steps is what the law does: no step more, none missing."""

from __future__ import annotations

from contractcourt.case import STEPS_BACK, STEPS_FORWARD
from docs.generate.state_machine import transitions


def test_the_law_takes_every_step_of_the_table_and_no_other() -> None:
    taken = {(step.before, step.after) for step in transitions()}
    assert taken == STEPS_FORWARD | STEPS_BACK
    assert STEPS_FORWARD.isdisjoint(STEPS_BACK)
