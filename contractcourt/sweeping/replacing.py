"""What a better offer has to pay (BIP 125), and who travels together although it does.

A replacement pays all of what it replaces and its own relay on top. So a transaction can hold its
inputs fast: one step below the whole budget there is no room for another step, and whoever wants
to leave a group pays for all of it. Two rules keep the last offer before a deadline, the whole
budget, possible at all times: who could not be raised once more offers everything at once, and a
group is as large as those of it that can pay most could leave it by themselves. Then the others
are free, at no cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from contractcourt.effects import BumpCommitment
from contractcourt.sweeping.inputs import (
    SweepInput,
    fee_for,
    limit,
    own_weight,
    parent_fee,
    parent_weight,
    shared_weight,
    whole_virtual_bytes,
)
from contractcourt.units import FeeratePerKw, Satoshi, WeightUnits

#: A replacement for less than a twentieth more is not worth its relay.
_STEP_PERCENT = 105
#: What makes a feerate a higher one.
_HIGHER = FeeratePerKw(1)


@dataclass(frozen=True, slots=True)
class Replaced:
    """A transaction to outbid: all of its fee, and the node's step on top (BIP 125 rules 3, 4).

    Bitcoin Core asks for a higher feerate too, however much heavier the replacement is.
    `feerate_per_kw` is a package's, parent and child, for a bump; the weight is the child's.
    """

    fee_sat: Satoshi
    feerate_per_kw: FeeratePerKw
    incremental: FeeratePerKw
    weight: WeightUnits

    def least_fee(self, weight: WeightUnits) -> Satoshi:
        """What a replacement of this weight pays at least."""
        step = self.fee_sat + fee_for(self.incremental, weight)
        same_rate = -(-self.fee_sat * weight // self.weight)
        return Satoshi(max(step, same_rate + fee_for(_HIGHER, weight)))


@dataclass(frozen=True, slots=True)
class Offered:
    """What is offered for an input now, and the most that may be: its `limit`."""

    item: SweepInput
    feerate_per_kw: FeeratePerKw
    limit: FeeratePerKw

    @classmethod
    def of(cls, item: SweepInput, feerate_per_kw: FeeratePerKw) -> Offered:
        """So much for this one, or as much as it can pay."""
        most = limit(item)
        return cls(item, min(feerate_per_kw, most), most)

    def is_worth_replacing(self, out: Replaced) -> bool:
        """A good step more than what is out, or everything, however little more that is."""
        everything = self.feerate_per_kw >= self.limit > out.feerate_per_kw
        return everything or self.feerate_per_kw * 100 >= out.feerate_per_kw * _STEP_PERCENT


def companies(
    offers: Sequence[Offered], incremental: FeeratePerKw, replaced: Replaced | None = None
) -> Iterator[tuple[int, FeeratePerKw]]:
    """How many of these, from the first on, can travel together, and at what feerate.

    The largest company comes first. Each pays the highest offer among it, or what the replacement
    demands, and nobody of it more than its own limit. The first by itself is always one of them
    where nothing is replaced; where something is, there may be none.

    Args:
        offers: one at least, for inputs of one kind that pay one script; the highest limit first.
        incremental: the mempool's step for a replacement.
        replaced: the transaction that the company's is to replace.
    """
    first, most = offers[0].item, offers[0].limit
    hurries = any(offer.item.want.deadline is not None for offer in offers)
    fees = _Fees(first)
    weights = _weights(offers)
    rates = list(accumulate((offer.feerate_per_kw for offer in offers), max))
    # Those that can pay most, and what they pay at most when they leave the others.
    leaving = weights[sum(offer.limit == most for offer in offers)]
    way_out = fees.at(most, leaving) - fee_for(incremental, leaving)
    for count in range(len(offers), 0, -1):
        weight, rate, weakest = weights[count], rates[count - 1], offers[count - 1].limit
        least = replaced.least_fee(weight) if replaced else 0
        fee = max(fees.at(rate, weight), least)
        if fee > fees.at(weakest, weight):
            continue
        if not hurries:
            yield count, rate
        elif weakest == most:
            roomy = fee + fee_for(incremental, weight) <= fees.at(most, weight)
            yield count, rate if roomy else most
        elif fee <= way_out:
            yield count, rate


def all_in_one(offers: Sequence[Offered], replaced: Replaced) -> Iterator[tuple[int, FeeratePerKw]]:
    """The same, where none of these could leave the others, and so no company is left.

    Those that were equals when they set out, and are no longer: their node's highest feerate was
    raised. Together they pay what the weakest of them can, if that is enough for a replacement.
    """
    fees, weights = _Fees(offers[0].item), _weights(offers)
    for count in range(len(offers), 0, -1):
        weakest = offers[count - 1].limit
        if replaced.least_fee(weights[count]) <= fees.at(weakest, weights[count]):
            yield count, min(weakest, max(offer.feerate_per_kw for offer in offers[:count]))


def _weights(offers: Sequence[Offered]) -> list[WeightUnits]:
    """Of the transactions of none of them, of the first, of the first two and so on."""
    own = (own_weight(offer.item) for offer in offers)
    return [
        whole_virtual_bytes(weight)
        for weight in accumulate(own, initial=shared_weight(offers[0].item))
    ]


class _Fees:
    """What transactions of an input's kind pay; a child pays for its parent too."""

    def __init__(self, item: SweepInput) -> None:
        self._parent_weight, self._parent_fee = 0, 0
        if isinstance(item.want, BumpCommitment):
            self._parent_weight = parent_weight(item.want.commitment)
            self._parent_fee = parent_fee(item.channel, item.want.commitment)

    def at(self, feerate: FeeratePerKw, weight: WeightUnits) -> int:
        """Satoshi that a transaction of this weight itself pays."""
        return fee_for(feerate, WeightUnits(weight + self._parent_weight)) - self._parent_fee
