"""A fee wallet that is short of coins: who goes, and who waits for more."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from contractcourt.sweeping.drafts import Draft, draft
from contractcourt.sweeping.groups import Group, GroupKind
from contractcourt.sweeping.means import is_short, within_means
from contractcourt.units import FeeratePerKw
from tests.contractcourt.sweeping.wanted import market, second_level, wallet

_FLOOR = FeeratePerKw(253)


def group_of(values: list[int], feerate: int) -> Group:
    items = [second_level(n, value, deadline=110) for n, value in enumerate(values)]
    items.sort(key=lambda item: (-item.value_sat, item.outpoint))
    return Group(GroupKind.SECOND_LEVEL, tuple(items), FeeratePerKw(feerate))


def test_l10_the_most_valuable_go_at_the_price_of_now() -> None:
    group = group_of([500_000 + n for n in range(30)], 6_000)
    coins = wallet(30_000)
    assert is_short(draft(group, coins, _FLOOR))
    first, *rest = within_means(group, coins, market())
    count = len(first.members)
    assert first.members == group.members[:count]
    made = draft(first, coins, _FLOOR)
    assert isinstance(made, Draft)
    assert made.feerate_per_kw >= 5_700
    assert is_short(draft(replace(group, members=group.members[: count + 1]), coins, _FLOOR))
    assert sum(len(one.members) for one in rest) == 30 - count


def test_l8_one_goes_as_well_as_it_can_where_the_price_is_too_high_for_any() -> None:
    group = group_of([500_000] * 3, 20_000)
    first, *_ = within_means(group, wallet(5_000), market())
    assert len(first.members) == 1
    # Nothing is smaller than one, and without a coin nothing helps.
    assert within_means(first, wallet(5_000), market()) == []
    assert within_means(group, wallet(), market()) == []


def test_l8_many_small_coins_that_the_poor_cannot_bear_keep_nobody_else_back() -> None:
    """For each coin a transaction weighs more, and the poorest can pay its share no longer."""
    group = group_of([50_000, 3_000], 1_400)
    small = wallet(*[900] * 20)
    assert is_short(draft(group, small, _FLOOR))
    first, second = within_means(group, small, market())
    assert first.members == group.members[:1]
    assert second.members == group.members[1:]
    made = draft(first, small, _FLOOR)
    assert isinstance(made, Draft)
    assert not made.pays_too_little
    # A coin that is large enough by itself pays for both.
    assert not is_short(draft(group, wallet(20_000), _FLOOR))


@given(
    st.lists(st.integers(20_000, 500_000), min_size=2, max_size=12),
    st.integers(253, 20_000),
    st.lists(st.integers(300, 30_000), max_size=4),
)
def test_nobody_is_lost_and_every_part_is_smaller(
    values: list[int], feerate: int, coins: list[int]
) -> None:
    group = group_of(values, feerate)
    parts = within_means(group, wallet(*coins), market())
    if parts:
        found = [member.outpoint for part in parts for member in part.members]
        assert sorted(found) == sorted(group.outpoints)
        assert all(len(part.members) < len(group.members) for part in parts)
