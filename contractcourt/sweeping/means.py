"""What a fee wallet that is short pays for: some at the price of now, rather than all below it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

from contractcourt.sweeping.drafts import Draft, FeeWallet, Shortfall, draft
from contractcourt.sweeping.groups import Group, parted
from contractcourt.sweeping.market import Market


def is_short(made: Draft | Shortfall) -> bool:
    """The wallet keeps it from what it should pay."""
    return made.wallet if isinstance(made, Shortfall) else made.pays_too_little


def within_means(group: Group, wallet: FeeWallet, market: Market) -> list[Group]:
    """Smaller groups in place of one that is too dear for the wallet; none where that is no help.

    First the most valuable that its coins pay for at the group's feerate, or one as well as they
    can; then the rest, which needs other coins.
    """

    def is_too_dear(count: int) -> bool:
        return is_short(_first(group, count, wallet, market))

    members = group.members
    if len(members) == 1 or isinstance(_first(group, 1, wallet, market), Shortfall):
        return []
    paid = max(bisect_left(range(1, len(members)), True, key=is_too_dear), 1)
    return parted(group, paid, market)


def _first(group: Group, count: int, wallet: FeeWallet, market: Market) -> Draft | Shortfall:
    return draft(replace(group, members=group.members[:count]), wallet, market.floor)
