"""Random fee markets: what is in time when the market allows it, and at what cost at most."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import TypedDict

from hypothesis import given, settings
from hypothesis import strategies as st

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import Side
from contractcourt.contract import ContractKind
from contractcourt.sweeping.inputs import SweepInput, limit
from contractcourt.units import Txid
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


def assert_l8_holds(game: FeeMarket) -> None:
    """In time, within the budget, and begun at once, whatever it may cost in the end."""
    assert_in_time_where_the_market_allowed_it(game)
    assert game.paid_sat <= sum(item.want.budget_sat for item in game.items.values())
    for outpoint, item in game.items.items():
        assert game.offers.get(outpoint) or limit(item) < 253


@settings(max_examples=150, deadline=None)
@given(_urgent(), _prices, st.booleans())
def test_l8_no_deadline_is_missed_and_no_budget_passed(
    items: dict[OutPoint, SweepInput], prices: list[int], knows_prices: bool
) -> None:
    game = FeeMarket(dict(items), prices, _START, knows_prices=knows_prices)
    game.play()
    assert_l8_holds(game)


class _Place(TypedDict, total=False):
    """Which commitment, and whose."""

    txid: Txid
    owner: Side


#: One script each: on the peer's commitment, on a revoked one, on ours.
_RIVALS: dict[ContractKind, _Place] = {
    ContractKind.RECEIVED_HTLC: {},
    ContractKind.REVOKED_HTLC: {"txid": Txid(b"\x01" * 32)},
    ContractKind.OFFERED_HTLC: {"owner": Side.LOCAL},
}


@st.composite
def _rivals(draw: st.DrawFn) -> tuple[dict[OutPoint, SweepInput], list[int]]:
    """Small ones of about the same value that may travel together, and prices to part them.

    The last block before a deadline asks for the whole budget of one of them.
    """
    kind = draw(st.sampled_from(list(_RIVALS)))
    deadlines = st.integers(_START + 4, _START + 12)
    if kind is not ContractKind.REVOKED_HTLC:
        deadlines = st.just(draw(deadlines))
    items = [
        Wanted(
            number,
            kind,
            draw(st.integers(1_000, 9_000)),
            deadline=draw(deadlines),
            started=_START + draw(st.integers(0, 1)),
            **_RIVALS[kind],
        ).item()
        for number in range(draw(st.integers(1, 5)))
    ]
    prices = draw(st.lists(st.integers(253, 6_000), min_size=12, max_size=12))
    for item in items:
        assert item.want.deadline is not None
        prices[item.want.deadline - 1 - _START] = limit(draw(st.sampled_from(items)))
    return {item.outpoint: item for item in items}, prices


@settings(max_examples=500, deadline=None)
@given(_rivals(), st.booleans())
def test_l8_nobody_is_held_below_its_whole_budget_by_those_it_travels_with(
    rivals: tuple[dict[OutPoint, SweepInput], list[int]], knows_prices: bool
) -> None:
    items, prices = rivals
    coins = wallet(*[100_000] * len(items))
    game = FeeMarket(dict(items), prices, _START, coins, knows_prices)
    game.play()
    assert_l8_holds(game)
    for offers in game.offers.values():
        assert all(before <= after for before, after in pairwise(offers))


def test_l8_one_step_below_its_whole_budget_there_is_room_for_that_step() -> None:
    item = Wanted(1, ContractKind.RECEIVED_HTLC, 1_000, deadline=104, started=_START).item()
    assert limit(item) == 868
    game = FeeMarket({item.outpoint: item}, [254, 504, 754, 754], _START, knows_prices=False)
    game.play()
    # From 503 the next step is 753, and none of 250 is left from there to 868.
    assert game.offers[item.outpoint] == [253, 503, 868]
    assert game.mined[item.outpoint] == 103


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
