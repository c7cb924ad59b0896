"""Replacements: who travels together, who leaves, and when a better offer is worth its relay."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.contract import ContractKind
from contractcourt.sweeping.drafts import Draft, draft
from contractcourt.sweeping.groups import Group, gather, raised
from contractcourt.sweeping.inputs import SweepInput, fee_for, limit
from contractcourt.sweeping.replacing import Replaced
from contractcourt.units import BlockHeight, FeeratePerKw, Satoshi, WeightUnits
from tests.contractcourt.sweeping.wanted import Wanted, bump, market, wallet

_DEADLINE = 110
_LAST = BlockHeight(_DEADLINE - 1)
_FLOOR = FeeratePerKw(253)


def htlc(number: int, value_sat: int, offered: int = 0) -> SweepInput:
    """On a commitment of the peer's."""
    kind = ContractKind.RECEIVED_HTLC
    return Wanted(number, kind, value_sat, deadline=_DEADLINE, offered=offered).item()


def together(items: list[SweepInput], price: int) -> list[set[OutPoint]]:
    groups = gather(items, market(price=price), BlockHeight(100)).groups
    return [set(group.outpoints) for group in groups]


def out(group: Group) -> Replaced:
    """The group's transaction, as it was sent."""
    made = draft(group, wallet(100_000), _FLOOR)
    assert isinstance(made, Draft)
    return Replaced(made.fee_sat, made.feerate_per_kw, FeeratePerKw(250), made.weight)


@given(st.integers(1, 10**6), st.integers(400, 40_000), st.integers(400, 400_000))
def test_b9_a_replacement_has_a_higher_feerate_however_small_the_nodes_step_is(
    fee_sat: int, weight: int, heavier: int
) -> None:
    was = Replaced(Satoshi(fee_sat), FeeratePerKw(253), FeeratePerKw(1), WeightUnits(weight))
    least = was.least_fee(WeightUnits(heavier))
    assert least > fee_sat
    assert least * weight > fee_sat * heavier


def test_who_can_pay_more_travels_with_the_poor_while_it_could_leave_alone() -> None:
    rich, *poor = [htlc(0, 30_000), *(htlc(n, 3_000) for n in range(1, 5))]
    assert limit(rich) == 26_041
    assert limit(poor[0]) == 2_604
    everybody = {item.outpoint for item in (rich, *poor)}
    assert together([rich, *poor], 2_000) == [everybody]
    # Less rich, it could not pay for all five when it leaves: one of them goes by itself.
    less = htlc(0, 8_000)
    assert limit(less) == 6_944
    first, second = together([less, *poor], 2_000)
    assert less.outpoint in first
    assert (len(first), len(second)) == (4, 1)


def test_those_with_the_same_limit_never_part() -> None:
    same = [htlc(n, 3_000) for n in range(6)]
    assert together(same, 2_500) == [{item.outpoint for item in same}]
    [group] = gather(same, market(price=2_000), BlockHeight(100)).groups
    better = raised(same, out(group), market(price=2_000), _LAST)
    assert better is not None
    assert better.outpoints == group.outpoints
    assert better.feerate_per_kw == limit(same[0])


def test_who_is_left_out_of_a_better_offer_is_whoever_cannot_pay_it() -> None:
    rich, poor = htlc(0, 30_000), htlc(1, 3_000)
    [group] = gather([rich, poor], market(price=1_000), BlockHeight(100)).groups
    better = raised([rich, poor], out(group), market(price=8_000), BlockHeight(101))
    assert better is not None
    assert better.outpoints == {rich.outpoint}
    made = draft(better, wallet(), _FLOOR, out(group))
    assert isinstance(made, Draft)
    assert made.fee_sat <= rich.want.budget_sat


@pytest.mark.parametrize(("price", "due"), [(2_090, False), (2_100, True)])
def test_a_better_offer_is_a_twentieth_more(price: int, due: bool) -> None:
    item = htlc(1, 30_000)
    was = out(Group.alone(item, FeeratePerKw(2_000)))
    assert (raised([item], was, market(price=price), BlockHeight(100)) is not None) is due


def test_all_that_there_is_is_offered_for_less_than_a_twentieth() -> None:
    item = htlc(1, 30_000)
    was = out(Group.alone(item, FeeratePerKw(25_700)))
    better = raised([item], was, market(), _LAST)
    assert better is not None
    assert better.feerate_per_kw == limit(item) == 26_041
    assert raised([item], out(better), market(), _LAST) is None


def capped(item: SweepInput, most: int) -> SweepInput:
    """Under a policy of so much."""
    return replace(item, max_feerate_per_kw=FeeratePerKw(most))


@given(
    st.lists(st.integers(2_000, 12_000), min_size=1, max_size=8),
    st.integers(300, 4_000),
    st.integers(0, 4_000),
)
def test_equals_that_a_raised_policy_has_parted_are_raised_together(
    values: list[int], most: int, more: int
) -> None:
    """Nobody is left where it is that could pay for a replacement with those above it."""
    items = [htlc(number, value) for number, value in enumerate(values)]
    before, after = ([capped(item, cap) for item in items] for cap in (most, most + more))
    for group in gather(before, market(price=most), _LAST).groups:
        was = out(group)
        members = [item for item in after if item.outpoint in group.outpoints]
        members.sort(key=lambda item: -limit(item))
        better = raised(members, was, market(price=20_000), _LAST)
        if better is not None:
            made = draft(better, wallet(), _FLOOR, was)
            assert isinstance(made, Draft)
            assert made.fee_sat <= fee_for(min(map(limit, better.members)), made.weight)
            continue
        for count, weakest in enumerate(map(limit, members), 1):
            company = Group(group.kind, tuple(members[:count]), weakest)
            made = draft(company, wallet(), _FLOOR, was)
            assert not isinstance(made, Draft) or made.fee_sat > fee_for(weakest, made.weight)


def test_equals_that_a_raised_policy_has_parted_offer_no_more_than_the_curve() -> None:
    items = [htlc(number, 3_000 + number) for number in range(5)]
    [group] = gather([capped(item, 2_000) for item in items], market(price=2_000), _LAST).groups
    better = raised(items, out(group), market(price=2_300), BlockHeight(101))
    assert better is not None
    assert better.outpoints == group.outpoints
    assert better.feerate_per_kw == 2_300 < min(map(limit, items))


def test_without_a_deadline_nothing_is_offered_beyond_the_estimate() -> None:
    item = Wanted(1, value_sat=1_000).item()
    [group] = gather([item], market(price=1_000), BlockHeight(100)).groups
    assert group.feerate_per_kw == 1_000 < limit(item) < 1_000 + 250


@given(st.integers(253, 20_000), st.integers(600, 40_000))
def test_the_last_offer_of_a_child_is_always_possible(price: int, budget_sat: int) -> None:
    item = bump(budget_sat, deadline=_DEADLINE)
    groups = gather([item], market(price=price), BlockHeight(100)).groups
    if not groups:
        assert limit(item) < 253
        return
    was = out(groups[0])
    if was.feerate_per_kw >= limit(item):
        return
    better = raised([item], was, market(), _LAST)
    assert better is not None
    made = draft(better, wallet(100_000), _FLOOR, was)
    assert isinstance(made, Draft)
    assert made.feerate_per_kw >= limit(item)


def test_what_was_refused_as_too_cheap_is_raised_by_the_nodes_step() -> None:
    item = htlc(1, 30_000)
    was = out(Group.alone(item, FeeratePerKw(2_000)))
    assert raised([item], was, market(price=2_000), BlockHeight(100)) is None
    better = raised([item], was, market(price=2_000), BlockHeight(100), refused=True)
    assert better is not None
    made = draft(better, wallet(), _FLOOR, was)
    assert isinstance(made, Draft)
    assert made.feerate_per_kw == 2_250


def test_what_has_no_room_for_another_step_is_left_as_it_is() -> None:
    for item in (htlc(1, 30_000), bump(10_000, deadline=_DEADLINE, feerate_per_kw=5_000)):
        was = out(Group.alone(item, FeeratePerKw(limit(item) - 50)))
        assert raised([item], was, market(), _LAST) is None
