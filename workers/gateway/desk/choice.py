"""Which channels the list shows: the filters of the first page, as they stand in its address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar
from urllib.parse import urlencode

from contractcourt.case import State
from contractcourt.effects import CloseKind
from workers.gateway.desk.risk import Risk
from workers.gateway.problems import Problem

#: The nearness that a filter offers: at least this near.
RISKS = (Risk.OVERDUE, Risk.URGENT, Risk.SOON)
#: Beside them: somebody must look.
ALARMED = "alarm"
_NODE_CHARACTERS = 64
#: Fewer than a bigint may have, so that each such number is one.
_PLACE_DIGITS = 19
_Member = TypeVar("_Member", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Choice:
    """What is looked for; None stands for anything."""

    state: State | None = None
    node: str | None = None
    kind: CloseKind | None = None
    risk: Risk | None = None
    alarmed: bool = False
    after: int = 0

    @property
    def filtered(self) -> bool:
        """Anything less than all is asked for."""
        return self != Choice(after=self.after)

    def address(self, after: int) -> str:
        """The same choice from another place on."""
        named = {
            "node": self.node,
            "state": self.state,
            "kind": self.kind,
            "risk": ALARMED if self.alarmed else self.risk,
            "after": after or None,
        }
        return "/?" + urlencode({name: value for name, value in named.items() if value})


def choice_of(query: Mapping[str, str]) -> Choice:
    """The choice of an address; an empty field of the form is no choice.

    Raises:
        Problem: 422, a filter has a value that there is not.
    """
    risk = query.get("risk", "")
    node = query.get("node", "").strip()
    if len(node) > _NODE_CHARACTERS or not node.isprintable():
        raise Problem("invalid-fields", "node: there is no such name")
    return Choice(
        state=_member(State, "state", query.get("state", "")),
        node=node or None,
        kind=_member(CloseKind, "kind", query.get("kind", "")),
        risk=None if risk == ALARMED else _nearness(risk),
        alarmed=risk == ALARMED,
        after=_place(query.get("after", "0")),
    )


def _member(members: type[_Member], name: str, value: str) -> _Member | None:
    try:
        return members(value) if value else None
    except ValueError:
        known = ", ".join(member.value for member in members)
        raise Problem("invalid-fields", f"{name}: one of {known}, or nothing") from None


def _nearness(value: str) -> Risk | None:
    if value and value not in RISKS:
        raise Problem("invalid-fields", f"risk: one of {', '.join(RISKS)}, {ALARMED}, or nothing")
    return Risk(value) if value else None


def _place(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < _PLACE_DIGITS):
        raise Problem("invalid-fields", "after: a whole number from 0 on")
    return int(value)
