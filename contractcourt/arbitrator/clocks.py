"""Alarm clocks that HTLCs have set, and that stop when they are settled.

A clock that runs says that money is at risk at its height, and wakes a case there. Nothing is at
risk of an HTLC that no commitment holds any more, or of one whose channel is closed: there its
contract has clocks of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from contractcourt.arbitrator import htlcs, risks
from contractcourt.case import Case
from contractcourt.effects import HTLC_DUE
from contractcourt.units import BlockHeight

#: The height and the reason to be woken there.
Clock = tuple[BlockHeight, str]


def stopped(way: Sequence[Case]) -> set[Clock]:
    """What HTLCs have set on a case's way so far, and not where it stands now."""
    now = way[-1]
    if all(_holds_the_same(case, now) for case in way):
        return set()
    gone = {clock for case in way[:-1] for clock in _due(case)} - _due(now)
    if now.funding_spend is None:
        gone |= {clock for case in way[:-1] for clock in risks.near_htlcs(case)}
        gone -= risks.near_htlcs(now)
    return gone


def _holds_the_same(case: Case, other: Case) -> bool:
    """Nothing that clocks of HTLCs follow from differs. Unchanged parts are the same object."""
    return (
        case.local_commitment is other.local_commitment
        and case.remote_commitments is other.remote_commitments
        and case.preimages is other.preimages
        and case.policy is other.policy
        and case.closed is other.closed
    )


def _due(case: Case) -> set[Clock]:
    return set() if case.closed else {(at, HTLC_DUE) for at in htlcs.due_heights(case)}
