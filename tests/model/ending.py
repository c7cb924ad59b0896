"""Liveness: from wherever a world is, its case can still end."""

from __future__ import annotations

from contextlib import suppress

from contractcourt.arbitrator.depth import depth_of
from contractcourt.contract import ContractKind
from contractcourt.effects import CloseKind
from contractcourt.errors import LawError
from tests.model.actions import ACTIONS
from tests.model.world import World
from tests.scenarios.memory import MemoryCourt

#: Looks at the chain after which every delay, expiry and burial of these channels is over.
_LOOKS = 120


def lead_to_the_end(world: World) -> World:
    """The world in which its case ended, or only the operator can end it (`is_for_the_operator`).

    Raises AssertionError when it can't end any more. The court goes on alone, woken only when it
    asked to be; the peer closes only where nothing of ours can.
    """
    court = world.court.fork()
    court.publish_answer = None
    with suppress(LawError):
        court.force_close()
    _go_on(court)
    if not _ended(court) and _has_nothing_to_publish(court):
        for name in ("splice told", "theirs"):
            with suppress(LawError):
                ACTIONS[name](court, world.could)
        _go_on(court)
    ended = World(court, world.could, (*world.path, "to the end"))
    assert _ended(court), f"{ended.words()} ends in {court.state}"
    return ended


def _has_nothing_to_publish(court: MemoryCourt) -> bool:
    """The node told no commitment on this funding, or what it told is known to be stale (L19)."""
    ours = court.case.local_commitment
    told = ours is not None and ours.spends == court.case.channel.funding_outpoint
    return not told or "data_loss" in court.alarms()


def _go_on(court: MemoryCourt) -> None:
    for _ in range(_LOOKS):
        if _ended(court) and not court.chain.mempool:
            return
        due = [height - court.height for height in court.deadlines if height > court.height]
        court.jump(1 if court.chain.mempool else max(1, min(due, default=1)))


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
