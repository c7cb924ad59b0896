"""A toy miner and a toy sweeper around the law of offers: prices by height, and an adversary.

The sweeper does in memory what a round does: outbid what is out, group what is free, one
transaction for each group. The miner takes what pays its price; the adversary may spend one
member of any transaction that is out, once in a block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.sweeping.drafts import Draft, FeeWallet, draft
from contractcourt.sweeping.groups import gather, raised
from contractcourt.sweeping.inputs import SweepInput, limit
from contractcourt.sweeping.replacing import Replaced
from contractcourt.units import BlockHeight, FeeratePerKw
from tests.contractcourt.sweeping.wanted import market

FLOOR = FeeratePerKw(253)


@dataclass
class FeeMarket:
    """One game. `prices`: what a block asks at least, from `height` on."""

    items: dict[OutPoint, SweepInput]
    prices: Sequence[int]
    height: int
    wallet: FeeWallet = field(default_factory=FeeWallet)
    knows_prices: bool = True
    mined: dict[OutPoint, int] = field(default_factory=dict)
    stolen: dict[OutPoint, int] = field(default_factory=dict)
    out: list[Draft] = field(default_factory=list)
    alone: set[OutPoint] = field(default_factory=set)
    paid_sat: int = 0
    offers: dict[OutPoint, list[int]] = field(default_factory=dict)

    def play(self, steal: Callable[[FeeMarket], OutPoint | None] = lambda _: None) -> None:
        """All blocks."""
        for price in self.prices:
            self._outbid(price)
            self._sweep(price)
            self._steal(steal(self))
            # What was taken apart goes out again in the same block (users_ask L7).
            self._sweep(price)
            self._mine(price)
            self.height += 1

    def open(self) -> list[SweepInput]:
        """Neither mined nor stolen."""
        gone = self.mined.keys() | self.stolen.keys()
        return [item for outpoint, item in self.items.items() if outpoint not in gone]

    def _gather(self, items: Sequence[SweepInput], price: int) -> Sequence[Draft]:
        told = market(price=price if self.knows_prices else None)
        groups = gather(items, told, BlockHeight(self.height), self.alone).groups
        drafts = (draft(group, self.wallet, FLOOR) for group in groups)
        return [made for made in drafts if isinstance(made, Draft)]

    def _outbid(self, price: int) -> None:
        for old in self.out:
            told = market(price=price if self.knows_prices else None)
            members = [self.items[member.outpoint] for member in old.group.members]
            replaced = Replaced(old.fee_sat, old.feerate_per_kw, told.incremental, old.weight)
            group = raised(members, replaced, told, BlockHeight(self.height))
            if group is None:
                continue
            better = draft(group, self.wallet, FLOOR, replaced)
            if isinstance(better, Draft):
                self._send(better, instead_of=old)

    def _sweep(self, price: int) -> None:
        taken = {member.outpoint for made in self.out for member in made.group.members}
        free = [item for item in self.open() if item.outpoint not in taken]
        for made in self._gather(free, price):
            self._send(made)

    def _send(self, made: Draft, instead_of: Draft | None = None) -> None:
        self.out = [*(old for old in self.out if old is not instead_of), made]
        for member, share in zip(made.group.members, made.shares, strict=True):
            assert share <= member.want.budget_sat
            rate = min(made.feerate_per_kw, limit(member))
            self.offers.setdefault(member.outpoint, []).append(rate)
            self.items[member.outpoint] = replace(member, feerate_per_kw=FeeratePerKw(rate))

    def _steal(self, outpoint: OutPoint | None) -> None:
        if outpoint is None:
            return
        self.stolen[outpoint] = self.height
        for made in list(self.out):
            if outpoint in made.group.outpoints:
                self.out.remove(made)
                self.alone |= made.group.outpoints

    def _mine(self, price: int) -> None:
        for made in list(self.out):
            if made.feerate_per_kw >= price:
                self.out.remove(made)
                self.paid_sat += made.fee_sat
                for member in made.group.members:
                    self.mined[member.outpoint] = self.height + 1
