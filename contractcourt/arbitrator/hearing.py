"""One hearing: a case under decision and the effects wanted so far."""

from __future__ import annotations

from typing import Any

import msgspec

from contractcourt.alarms import AlarmKind
from contractcourt.case import Case, State
from contractcourt.effects import Effect, NotifyNode, RaiseAlarm, WakeAt
from contractcourt.units import BlockHeight, Satoshi


class Hearing:
    """Gathers the changes of one event. It lives for one call of `advance` and never escapes."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.effects: list[Effect] = []

    def change(self, **changes: Any) -> None:
        """Replace fields of the case."""
        self.case = msgspec.structs.replace(self.case, **changes)

    def want(self, effect: Effect) -> None:
        """Add an effect, once: effects are idempotent, so a second one says nothing new."""
        if effect not in self.effects:
            self.effects.append(effect)

    def enter(self, state: State) -> None:
        """Move to `state` and remember the way."""
        if state is not self.case.state:
            self.change(state=state, path=(*self.case.path, state))

    def see_height(self, height: BlockHeight) -> None:
        """The best chain is (at least for now) this high; after a reorg it may be lower."""
        self.change(best_height=height)

    def wake_at(
        self,
        height: int,
        reason: str,
        value_at_risk_sat: int = 0,
        hard_height: BlockHeight | None = None,
        *,
        urgent: bool = False,
    ) -> None:
        """Ask to be woken, unless that height is already behind us."""
        if height > self.case.best_height:
            at_risk = Satoshi(value_at_risk_sat)
            self.want(WakeAt(BlockHeight(height), reason, at_risk, hard_height, urgent))

    def alarm(self, kind: AlarmKind, message: str) -> None:
        """Tell the operator, and the node."""
        self.want(RaiseAlarm(kind, message))

    def notify(self, event_type: str, **data: Any) -> None:
        """Tell the node. Every notification names the channel."""
        point = str(self.case.channel.channel_point)
        self.want(NotifyNode(event_type, {"channel_point": point, **data}))
