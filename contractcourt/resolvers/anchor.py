"""Our anchor on our own commitment: worth 330 sat, and after 16 blocks anybody's (L3, L4)."""

from __future__ import annotations

from contractcourt.arbitrator.hearing import Hearing
from contractcourt.bolt3.scripts import ANCHOR_OPEN_AFTER
from contractcourt.contract import Contract
from contractcourt.effects import SweepOutput
from contractcourt.units import BlockHeight


def act(hearing: Hearing, contract: Contract) -> bool:
    """Ask for its sweep, which is only built while the fee leaves something of it."""
    hearing.wake_at(_given_up_height(hearing, contract), "the anchor is given up")
    hearing.want(SweepOutput(contract, hearing.case.channel.sweep_script))
    return True


def is_given_up(hearing: Hearing, contract: Contract) -> bool:
    """Anybody could have taken it for a while: it never paid for itself."""
    late = hearing.case.best_height >= _given_up_height(hearing, contract)
    return late and contract.spend is None


def _given_up_height(hearing: Hearing, contract: Contract) -> BlockHeight:
    patience = ANCHOR_OPEN_AFTER + hearing.case.policy.final_depth
    return BlockHeight(contract.confirmed_height + patience)
