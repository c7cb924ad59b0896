"""Random fee markets: what is in time when the market allows it, and at what cost at most."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.contract import ContractKind
from contractcourt.sweeping.inputs import SweepInput, limit
from tests.contractcourt.sweeping.fee_market import FeeMarket
from tests.contractcourt.sweeping.wanted import Wanted, second_level, wallet

_START, _BLOCKS = 100, 40
_prices = st.lists(st.integers(253, 60_000), min_size=_BLOCKS, max_size=_BLOCKS)


@st.composite
def _urgent(draw: st.DrawFn) -> dict[OutPoint, SweepInput]:
    """HTLCs on a commitment of the peer's, with deadlines inside the game."""
    count = draw(st.integers(1, 8))
    items = [
        Wanted(
            number,
            ContractKind.RECEIVED_HTLC,
            draw(st.integers(1_000, 2_000_000)),
            deadline=draw(st.integers(_START + 4, _START + _BLOCKS)),
            started=_START,
        ).item()
        for number in range(count)
    ]
    return {item.outpoint: item for item in items}


def assert_in_time_where_the_market_allowed_it(game: FeeMarket) -> None:
    """Its last block before the deadline asked for no more than the whole budget gives."""
    for outpoint, item in game.items.items():
        deadline = item.want.deadline
        assert deadline is not None
        last_price = game.prices[deadline - 1 - _START]
        if outpoint not in game.stolen and limit(item) >= last_price:
            assert game.mined[outpoint] <= deadline


@settings(max_examples=150, deadline=None)
@given(_urgent(), _prices, st.booleans())
def test_l8_no_deadline_is_missed_and_no_budget_passed(
    items: dict[OutPoint, SweepInput], prices: list[int], knows_prices: bool
) -> None:
    game = FeeMarket(dict(items), prices, _START, knows_prices=knows_prices)
    game.play()
    assert_in_time_where_the_market_allowed_it(game)
    budgets = [item.want.budget_sat for item in items.values()]
    assert game.paid_sat <= sum(budgets)
    # The first attempt is made at once, whatever it may cost in the end.
    for outpoint, item in items.items():
        assert game.offers.get(outpoint) or limit(item) < 253


@settings(max_examples=150, deadline=None)
@given(_urgent(), _prices, st.randoms(use_true_random=False))
def test_l7_an_adversary_that_spends_one_of_a_batch_each_block_delays_nobody(
    items: dict[OutPoint, SweepInput], prices: list[int], chance: Random
) -> None:
    def steal(game: FeeMarket) -> OutPoint | None:
        batches = [made for made in game.out if len(made.group.members) > 1]
        if not batches:
            return None
        return chance.choice([member.outpoint for member in batches[0].group.members])

    game = FeeMarket(dict(items), prices, _START)
    game.play(steal)
    assert_in_time_where_the_market_allowed_it(game)
    for offers in game.offers.values():
        assert all(before <= after for before, after in pairwise(offers))


@settings(max_examples=60, deadline=None)
@given(_prices, st.integers(20_000, 2_000_000))
def test_l8_second_level_transactions_are_in_time_too(prices: list[int], value_sat: int) -> None:
    deadline = _START + _BLOCKS - 1
    item = second_level(1, value_sat=value_sat, deadline=deadline)
    game = FeeMarket({item.outpoint: item}, prices, _START, wallet=wallet(5_000_000))
    game.play()
    assert game.paid_sat <= item.want.budget_sat
    if limit(item) >= prices[deadline - 1 - _START]:
        assert game.mined[item.outpoint] <= deadline


def test_a_fee_spike_is_outbid_in_time() -> None:
    item = Wanted(1, ContractKind.OFFERED_HTLC, 500_000, deadline=130, started=_START).item()
    game = FeeMarket({item.outpoint: item}, [20_000] * 60, _START, knows_prices=False)
    game.play()
    assert _START < game.mined[item.outpoint] <= 130
    assert game.offers[item.outpoint][0] == 253
    assert game.offers[item.outpoint][-1] >= 20_000
