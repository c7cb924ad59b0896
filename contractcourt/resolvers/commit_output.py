"""Our main outputs and second-level outputs: swept once their delay has run (L1, L8, L13, R3)."""

from __future__ import annotations

from contractcourt.arbitrator.hearing import Hearing
from contractcourt.contract import Contract
from contractcourt.resolvers.sweeping import sweep
from contractcourt.units import BlockHeight


def maturity_height(contract: Contract) -> BlockHeight:
    """The tip height from which a spend of this contract fits the next block (BIP 68)."""
    return BlockHeight(contract.confirmed_height + max(contract.csv_delay - 1, 0))


def act(hearing: Hearing, contract: Contract) -> bool:
    """Ask for the sweep when it is mature; True when it was asked for."""
    mature = maturity_height(contract)
    if hearing.case.best_height < mature:
        hearing.wake_at(mature, f"{contract.kind.value} matures", contract.value_sat)
        return False
    sweep(hearing, contract)
    return True
