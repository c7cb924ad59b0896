"""Liveness: from wherever a world is, its case can still end."""

from __future__ import annotations

from contextlib import suppress

from contractcourt.arbitrator.depth import depth_of
from contractcourt.arbitrator.offer import to_publish
from contractcourt.contract import ContractKind
from contractcourt.effects import CloseKind
from contractcourt.errors import LawError
from tests.model.actions import ACTIONS
from tests.model.world import World
from tests.scenarios.memory import MemoryCourt

#: Looks at the chain after which every delay, expiry and burial of these channels is over.
_LOOKS = 120


class Ends:
    """Leads worlds to their ends, and goes no way twice: what led to an end once does so again."""

    def __init__(self) -> None:
        #: The key of a world on its way, and whether only the operator can end it.
        self._known: dict[bytes, bool] = {}

    def lead(self, world: World) -> tuple[World, bool]:
        """The world at its end, or where it is known to end; and whether that is the operator's.

        Raises AssertionError when it can't end any more. The court goes on alone, woken only when
        it asked to be; the peer closes only where nothing of ours can.
        """
        court = world.court.fork()
        court.publish_answer = None
        with suppress(LawError):
            court.force_close()
        ended = World(court, world.could, (*world.path, "to the end"))
        operators = self._go_on(ended)
        if operators is None and _has_nothing_to_publish(court):
            for name in ("splice told", "theirs"):
                with suppress(LawError):
                    ACTIONS[name](court, world.could)
            operators = self._go_on(ended)
        assert operators is not None, f"{ended.words()} ends in {court.state}"
        return ended, operators

    def _go_on(self, world: World) -> bool | None:
        """Whether it ended at the operator's; None when it did not end."""
        court, way = world.court, []
        operators = None
        for _ in range(_LOOKS):
            if _ended(court) and not court.chain.mempool:
                operators = is_for_the_operator(court)
                break
            way.append(world.key())
            operators = self._known.get(way[-1])
            if operators is not None:
                break
            due = [height - court.height for height in court.deadlines if height > court.height]
            court.jump(1 if court.chain.mempool else max(1, min(due, default=1)))
        if operators is not None:
            self._known.update(dict.fromkeys(way, operators))
        return operators


def _has_nothing_to_publish(court: MemoryCourt) -> bool:
    """The node did not tell its newest commitment on this funding, or it is stale (L19)."""
    return to_publish(court.case) is None or "data_loss" in court.alarms()


def _ended(court: MemoryCourt) -> bool:
    return court.state == "FULLY_RESOLVED" or is_for_the_operator(court)


def is_for_the_operator(court: MemoryCourt) -> bool:
    """A spend that no rule explains is held open, with an alarm: it never ends by itself."""
    spend = court.case.funding_spend
    return (
        spend is not None
        and spend.kind is CloseKind.UNKNOWN_SPEND
        and court.state == "WAITING_FULL_RESOLUTION"
        and [c.kind for c in court.case.contracts] == [ContractKind.UNKNOWN_SPEND]
        and "unknown_spend" in court.alarms()
        and depth_of(spend.height, court.case.best_height) > 0
    )
