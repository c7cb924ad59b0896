"""The heart of the law: `advance(case, event) -> Verdict(case', effects)`."""

from __future__ import annotations

import msgspec

from contractcourt.case import Case
from contractcourt.effects import Effect
from contractcourt.events import Event


class Verdict(msgspec.Struct, frozen=True):
    """What the law decided: the case as it is now, and what it wants done, in order."""

    case: Case
    effects: tuple[Effect, ...] = ()


def open_case(event: Event) -> Verdict:
    """The first verdict of a case. Raises LawError unless `event` is a `ChannelOpened`."""
    raise NotImplementedError


def advance(case: Case, event: Event) -> Verdict:
    """Apply one event. Total over states and events.

    Raises a LawError, changing nothing, when the event's own content is wrong (a signature, a
    point, a secret, a number): such an event must be refused at the door and never stored.
    """
    raise NotImplementedError
