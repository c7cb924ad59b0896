"""Which coins of a fee wallet pay for a draft, and when there are too few."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from contractcourt.sweeping.drafts import Draft, Shortfall, draft
from contractcourt.sweeping.groups import Group, GroupKind
from contractcourt.sweeping.replacing import Replaced
from contractcourt.units import FeeratePerKw
from tests.contractcourt.sweeping.test_drafts import FLOOR, assert_adds_up
from tests.contractcourt.sweeping.wanted import bump, second_level, wallet


@given(
    st.lists(st.integers(1_000, 20_000), min_size=1, max_size=6),
    st.integers(253, 20_000),
    st.lists(st.integers(600, 2_000), min_size=1, max_size=20),
)
@example([2_000, 12_000], 1_700, [900] * 20)
def test_l8_nobody_pays_beyond_its_budget_for_the_coins_of_a_group(
    values: list[int], feerate: int, coins: list[int]
) -> None:
    items = [second_level(n, value_sat=value) for n, value in enumerate(values)]
    group = Group(GroupKind.SECOND_LEVEL, tuple(items), FeeratePerKw(feerate))
    drafted = draft(group, wallet(*coins), FLOOR)
    if isinstance(drafted, Draft):
        assert sum(drafted.shares) == drafted.fee_sat
        for item, share in zip(items, drafted.shares, strict=True):
            assert share <= item.want.budget_sat


def test_l10_an_empty_wallet_is_a_shortfall_that_names_the_sum() -> None:
    group = Group.alone(second_level(1), FeeratePerKw(1_000))
    short = draft(group, wallet(), FLOOR)
    assert isinstance(short, Shortfall)
    assert short.wallet
    paid = draft(group, wallet(short.missing_sat + 294 + 600), FLOOR)
    assert isinstance(paid, Draft)


_coins = st.lists(st.integers(295, 20_000), min_size=1, max_size=6)
_small_ones = st.lists(st.integers(200, 2_000), max_size=100)


@given(_coins, _small_ones, st.integers(253, 20_000), st.booleans())
def test_l10_small_coins_in_the_wallet_never_lower_a_feerate(
    coins: list[int], small: list[int], feerate: int, is_child: bool
) -> None:
    item = bump(40_000) if is_child else second_level(1, value_sat=500_000)
    group = Group.alone(item, FeeratePerKw(feerate))
    without, dusted = (draft(group, wallet(*held), FLOOR) for held in (coins, [*coins, *small]))
    if isinstance(without, Draft):
        assert isinstance(dusted, Draft)
        # Enough is enough, whichever coin it is.
        assert dusted.feerate_per_kw >= min(without.feerate_per_kw, feerate)
        assert len(dusted.coins) <= 20


def test_l10_the_smallest_coin_that_is_enough_pays() -> None:
    """Of what an anchor brings too; the larger coins are left for others."""
    for item in (second_level(1), bump(20_000)):
        group = Group.alone(item, FeeratePerKw(3_000))
        made = draft(group, wallet(100_000), FLOOR)
        assert isinstance(made, Draft)
        brought = 0 if item.second_level else group.value_in_sat
        enough = made.fee_sat + 294 - brought
        for coins in ([enough, 100_000], [100_000, enough, enough - 1], [enough, enough + 1]):
            drafted = draft(group, wallet(*coins), FLOOR)
            assert isinstance(drafted, Draft)
            assert [coin.value_sat for coin in drafted.coins] == [enough]


def test_l9_a_better_child_takes_no_more_coins_than_it_needs() -> None:
    """Each would raise the rate of both, for what outbids a child keeps the child's own rate."""
    item, coins = bump(15_000), wallet(*[3_000] * 12)
    old = draft(Group.alone(item, FeeratePerKw(2_000)), coins, FLOOR)
    assert isinstance(old, Draft)
    replaced = Replaced(old.fee_sat, old.feerate_per_kw, FeeratePerKw(250), old.weight)
    new = draft(Group.alone(item, FeeratePerKw(2_120)), coins, FLOOR, replaced)
    assert isinstance(new, Draft)
    assert len(old.coins) == len(new.coins) == 2
    assert new.fee_sat < old.fee_sat * 1.1


def test_l10_a_child_takes_small_coins_as_far_as_they_help_both() -> None:
    """They lower the child's own rate, and raise that of parent and child together."""
    group = Group.alone(bump(15_000), FeeratePerKw(5_000))
    one, three = draft(group, wallet(2_000), FLOOR), draft(group, wallet(2_000, 500, 500), FLOOR)
    assert isinstance(one, Draft)
    assert isinstance(three, Draft)
    assert len(three.coins) == 3
    assert three.feerate_per_kw > one.feerate_per_kw


def test_l9_a_child_pays_the_floor_itself_though_its_parent_pays_more() -> None:
    """A node looks at both together only where the parent pays too little."""
    group = Group.alone(bump(15_000, feerate_per_kw=5_000), FeeratePerKw(6_000))
    short = draft(group, wallet(600), FeeratePerKw(1_000))
    assert isinstance(short, Shortfall)
    assert short.wallet
    assert isinstance(draft(group, wallet(600 + short.missing_sat), FeeratePerKw(1_000)), Draft)


def test_l10_with_small_coins_alone_the_attempt_still_starts() -> None:
    group = Group.alone(second_level(1, value_sat=2_000_000), FeeratePerKw(8_000))
    drafted = draft(group, wallet(*[400] * 1_500), FLOOR)
    assert isinstance(drafted, Draft)
    assert len(drafted.coins) == 20
    assert drafted.feerate_per_kw > 1_000
    # Together they pay less for themselves than the first one by itself.
    drafted = draft(group, wallet(8_000, *[400] * 1_500), FLOOR)
    assert isinstance(drafted, Draft)
    assert [coin.value_sat for coin in drafted.coins] == [8_000]


@given(_coins, _coins, st.integers(253, 20_000), st.booleans())
def test_of_coins_whose_value_nobody_proved_one_at_most_pays_and_as_the_last_input(
    proved: list[int], unproved: list[int], feerate: int, is_child: bool
) -> None:
    item = bump(40_000) if is_child else second_level(1, value_sat=500_000)
    group = Group.alone(item, FeeratePerKw(feerate))
    drafted = draft(group, wallet(*proved, unproved=unproved), FLOOR)
    without = draft(group, wallet(*proved), FLOOR)
    if isinstance(drafted, Draft):
        assert all(coin.proved for coin in drafted.coins[:-1])
        spent = [spending.outpoint for spending in drafted.tx.inputs]
        assert spent == [item.outpoint, *(coin.outpoint for coin in drafted.coins)]
        assert_adds_up(drafted)
    if isinstance(without, Draft):
        assert isinstance(drafted, Draft)
        assert drafted.feerate_per_kw >= min(without.feerate_per_kw, feerate)


def test_a_coin_without_proof_pays_together_with_others() -> None:
    group = Group.alone(second_level(1, value_sat=2_000_000), FeeratePerKw(8_000))
    drafted = draft(group, wallet(3_000, 4_000, unproved=[5_000, 4_500]), FLOOR)
    assert isinstance(drafted, Draft)
    assert [coin.value_sat for coin in drafted.coins] == [4_000, 3_000, 5_000]
