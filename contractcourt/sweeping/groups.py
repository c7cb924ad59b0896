"""Who travels together: one transaction for each group.

What has no deadline is batched across the channels of a node. What has one goes with others of
the same deadline. Second-level transactions share one only when they share its lock time too,
for the peer's signature commits to it (H3). Justice goes by commitment. Whoever can't afford what
the most urgent of a group offers goes without it, and so does whoever would be held by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from math import inf

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.contract import Contract, ContractKind
from contractcourt.effects import BumpCommitment
from contractcourt.sweeping import curve
from contractcourt.sweeping.inputs import SweepInput
from contractcourt.sweeping.market import Market
from contractcourt.sweeping.replacing import Offered, Replaced, all_in_one, companies
from contractcourt.units import BlockHeight, FeeratePerKw, Satoshi

#: Few enough to stay far below what nodes relay, many enough to share the overhead.
MOST_MEMBERS = 64

_REVOKED = frozenset(
    {
        ContractKind.REVOKED_TO_LOCAL,
        ContractKind.REVOKED_HTLC,
        ContractKind.REVOKED_SECOND_LEVEL,
    }
)


class GroupKind(StrEnum):
    """Which of the three ways a group's transaction is built."""

    #: To the node's sweep script, the fee taken from what is swept.
    DIRECT = "direct"
    #: HTLC transactions of our commitments, the fee paid by the node's fee wallet.
    SECOND_LEVEL = "second_level"
    #: The child that pays for our commitment, out of the node's fee wallet.
    BUMP = "bump"


@dataclass(frozen=True, slots=True)
class Group:
    """Inputs of one transaction, the most valuable first, and the feerate offered for them."""

    kind: GroupKind
    members: tuple[SweepInput, ...]
    feerate_per_kw: FeeratePerKw

    @classmethod
    def alone(cls, item: SweepInput, feerate: FeeratePerKw) -> Group:
        """One input by itself."""
        return cls(kind_of(item), (item,), feerate)

    @property
    def value_sat(self) -> Satoshi:
        """What is at stake."""
        return Satoshi(sum(member.value_sat for member in self.members))

    @property
    def value_in_sat(self) -> Satoshi:
        """The value of the outputs themselves."""
        return Satoshi(sum(member.contract.value_sat for member in self.members))

    @property
    def budget_sat(self) -> Satoshi:
        """The most that all members together may pay."""
        return Satoshi(sum(member.want.budget_sat for member in self.members))

    @property
    def outpoints(self) -> frozenset[OutPoint]:
        """Of its members."""
        return frozenset(member.outpoint for member in self.members)


@dataclass(frozen=True, slots=True)
class Gathered:
    """The groups, the most urgent first, and those for which waiting is the better offer."""

    groups: tuple[Group, ...]
    waiting: tuple[SweepInput, ...]


def gather(
    items: Iterable[SweepInput],
    market: Market,
    height: BlockHeight,
    alone: Collection[OutPoint] = (),
) -> Gathered:
    """Group the inputs of one node as the rules above say; those in `alone` go alone."""
    together, waiting = _offers(items, market, height, alone)
    groups = [group for offers in together for group in _split(offers, market)]
    groups.sort(key=urgency)
    return Gathered(tuple(groups), tuple(waiting))


def raised(
    items: Iterable[SweepInput],
    out: Replaced,
    market: Market,
    height: BlockHeight,
    *,
    refused: bool = False,
) -> Group | None:
    """The better offer for what `out` spends; None while none is due, or none can be paid.

    It is for as many as can pay it; whoever is left out is free again once it is sent.

    Args:
        items: those of its inputs that are still to be swept.
        refused: it pays too little for the mempool, so that any other offer is better.
    """
    for offers in _offers(items, market, height)[0]:
        if refused or any(offer.is_worth_replacing(out) for offer in offers):
            found = companies(offers, market.incremental, out)
            for count, rate in chain(found, all_in_one(offers, out)):
                return _group(offers[:count], rate)
    return None


def urgency(group: Group) -> tuple[float, int]:
    """The less, the earlier: the nearest deadline, then the most at stake.

    Where the fee wallet is short, its coins go there (users_ask L10).
    """
    deadlines = (curve.deadline(member) for member in group.members)
    nearest = min((one for one in deadlines if one is not None), default=inf)
    return nearest, -group.value_sat


def offering(items: Iterable[SweepInput], feerate: FeeratePerKw, market: Market) -> list[Group]:
    """Groups of these, who may travel together, that offer this feerate or what each can pay."""
    return _split(_ranked(Offered.of(item, feerate) for item in items), market)


def halves(group: Group, market: Market) -> list[Group]:
    """Smaller groups at the same feerate, to find out which member is refused."""
    return parted(group, len(group.members) // 2, market)


def parted(group: Group, count: int, market: Market) -> list[Group]:
    """The first `count` members apart from the rest, at the same feerate."""
    parts = (group.members[:count], group.members[count:])
    return [one for part in parts for one in offering(part, group.feerate_per_kw, market)]


def locktime(contract: Contract) -> int:
    """An HTLC that we take back by its expiry demands it; nothing else does (R5, H3)."""
    if contract.kind is ContractKind.OFFERED_HTLC and contract.htlc is not None:
        return contract.htlc.cltv_expiry
    return 0


def _key(item: SweepInput) -> tuple[object, ...]:
    want = item.want
    if isinstance(want, BumpCommitment):
        return (GroupKind.BUMP, item.outpoint)
    if item.second_level:
        return (GroupKind.SECOND_LEVEL, curve.deadline(item), locktime(item.contract))
    if item.contract.kind in _REVOKED:
        return (GroupKind.DIRECT, want.sweep_script, item.outpoint.txid)
    return (GroupKind.DIRECT, want.sweep_script, curve.deadline(item))


def kind_of(item: SweepInput) -> GroupKind:
    """How a transaction that spends it is built."""
    if isinstance(item.want, BumpCommitment):
        return GroupKind.BUMP
    return GroupKind.SECOND_LEVEL if item.second_level else GroupKind.DIRECT


def _offers(
    items: Iterable[SweepInput],
    market: Market,
    height: BlockHeight,
    alone: Collection[OutPoint] = (),
) -> tuple[list[list[Offered]], list[SweepInput]]:
    """Who may travel together, those first that can pay most; and those who wait."""
    together: dict[tuple[object, ...], list[Offered]] = {}
    waiting = []
    for item in items:
        offered = curve.offer(item, market, height)
        if offered is None:
            waiting.append(item)
        else:
            key = (*_key(item), item.outpoint if item.outpoint in alone else None)
            together.setdefault(key, []).append(Offered.of(item, offered))
    return [_ranked(offers) for offers in together.values()], waiting


def _ranked(offers: Iterable[Offered]) -> list[Offered]:
    return sorted(offers, key=lambda each: (-each.limit, -each.item.value_sat, each.item.outpoint))


def _split(offers: list[Offered], market: Market) -> list[Group]:
    """The largest company of those that can pay most, then of the rest in the same way."""
    groups = []
    while offers:
        count, rate = next(companies(offers[:MOST_MEMBERS], market.incremental))
        groups.append(_group(offers[:count], rate))
        offers = offers[count:]
    return groups


def _group(offers: Sequence[Offered], feerate: FeeratePerKw) -> Group:
    members = [offer.item for offer in offers]
    members.sort(key=lambda member: (-member.value_sat, member.outpoint))
    return Group(kind_of(members[0]), tuple(members), feerate)
