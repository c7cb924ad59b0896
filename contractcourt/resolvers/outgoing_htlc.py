"""An HTLC that our node offered: taken back after its expiry, unless the peer claims it first.

The peer's claim shows the preimage, which is worth as much to us upstream (L5 to L7, R5, R6).
"""

from __future__ import annotations

from contractcourt.arbitrator import htlcs
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.channel import Side
from contractcourt.contract import Contract
from contractcourt.resolvers import second_level
from contractcourt.resolvers.sweeping import sweep


def act(hearing: Hearing, contract: Contract) -> bool:
    """Time it out once the tip has reached its expiry; True when that was asked for."""
    htlc = contract.htlc
    if htlc is None:
        return False
    if hearing.case.best_height < htlc.cltv_expiry:
        hearing.wake_at(
            htlc.cltv_expiry, "an offered HTLC times out", contract.value_sat, urgent=True
        )
        return False
    if contract.commitment_owner is Side.LOCAL:
        return second_level.publish(hearing, contract, None)
    sweep(hearing, contract)
    return True


def resolve(hearing: Hearing, contract: Contract) -> None:
    """Its spend is buried: it ends upstream now and not earlier (U2)."""
    if contract.htlc is None:
        return
    if contract.ours:
        htlcs.fail_timed_out(hearing, contract.htlc)
    else:
        htlcs.end_taken(hearing, contract.htlc)
