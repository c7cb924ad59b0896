"""An HTLC that our node received: claimed as soon as its preimage is known (L9, L12, R7, R9)."""

from __future__ import annotations

from contractcourt.arbitrator.hearing import Hearing
from contractcourt.channel import Side
from contractcourt.contract import Contract
from contractcourt.effects import HTLC_EXPIRES
from contractcourt.resolvers import second_level
from contractcourt.resolvers.sweeping import sweep


def act(hearing: Hearing, contract: Contract) -> bool:
    """Claim it with its preimage; True when that was asked for."""
    htlc = contract.htlc
    if htlc is None:
        return False
    preimage = hearing.case.preimage_of(htlc.payment_hash)
    if preimage is None:
        hearing.wake_at(htlc.cltv_expiry, HTLC_EXPIRES, contract.value_sat)
        return False
    if contract.commitment_owner is Side.LOCAL:
        return second_level.publish(hearing, contract, preimage)
    sweep(hearing, contract, preimage=preimage)
    return True


def is_given_up(hearing: Hearing, contract: Contract) -> bool:
    """Expired with its preimage unknown: the peer may take it back at any time (W4)."""
    htlc = contract.htlc
    if htlc is None or contract.spend is not None:
        return False
    expired = hearing.case.best_height >= htlc.cltv_expiry
    return expired and hearing.case.preimage_of(htlc.payment_hash) is None
