"""Offers: what is asked for an input at a height, and who travels together."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import Side
from contractcourt.contract import ContractKind
from contractcourt.sweeping import curve
from contractcourt.sweeping.groups import MOST_MEMBERS, GroupKind, gather, halves
from contractcourt.sweeping.inputs import SweepInput, limit
from contractcourt.units import BlockHeight, Txid
from tests.contractcourt.sweeping.wanted import Wanted, bump, market, second_level


def heights(first: int, last: int) -> list[BlockHeight]:
    return [BlockHeight(height) for height in range(first, last)]


def test_l11_without_an_estimate_what_has_no_deadline_is_not_built() -> None:
    item = Wanted(1).item()
    for height in heights(100, 244):
        assert curve.offer(item, market(), height) is None
    assert curve.offer(item, market(price=700), BlockHeight(244)) == 700


def test_l11_without_an_estimate_a_deadline_is_met_between_the_floor_and_the_budget() -> None:
    item = Wanted(1, ContractKind.OFFERED_HTLC, deadline=244).item()
    offers = [curve.offer(item, market(), height) for height in heights(100, 244)]
    assert offers[0] == 253
    assert offers[-1] == limit(item)
    rising = [offer for offer in offers if offer is not None]
    assert len(rising) == 144
    assert all(low <= high for low, high in pairwise(rising))
    # Pinned to no rate: it moves with nearly every block.
    assert len(set(rising)) > 140


def test_l11_without_an_estimate_a_commitment_is_bumped_at_the_floor() -> None:
    """Nothing of its channel is won before it is mined."""
    assert curve.offer(bump(50_000), market(), BlockHeight(100)) == 253
    assert curve.offer(bump(50_000), market(price=700), BlockHeight(100)) == 700


def test_l11_a_fallback_is_not_kept_when_estimates_are_back() -> None:
    item = Wanted(1, offered=253).item()
    assert curve.offer(item, market(), BlockHeight(300)) is None
    assert curve.offer(item, market(price=5_000), BlockHeight(300)) == 5_000


def test_l1_what_has_waited_for_long_waits_no_longer() -> None:
    """A small output can pay the floor for ever, and never what a day ahead costs."""
    small = replace(Wanted(1, value_sat=400).item(), patience_ends=BlockHeight(4_132))
    dear = market(floor=25, price=1_000)
    assert 25 < limit(small) < 1_000
    assert curve.offer(small, dear, BlockHeight(4_131)) is None
    assert curve.offer(small, dear, BlockHeight(4_132)) == limit(small)
    # A node that makes no estimates.
    large = replace(Wanted(1).item(), patience_ends=BlockHeight(4_132))
    assert curve.offer(large, market(), BlockHeight(4_131)) is None
    assert curve.offer(large, market(), BlockHeight(4_132)) == 253


@pytest.mark.parametrize("price", [253, 5_000])
def test_l7_more_was_offered_once_than_it_can_pay_now(price: int) -> None:
    """The anchor of a commitment whose child is gone, or a highest feerate that was lowered."""
    item = Wanted(1, offered=200_000).item()
    assert price < limit(item) < 200_000
    assert curve.offer(item, market(price=price), BlockHeight(300)) == limit(item)
    assert curve.offer(item, market(), BlockHeight(300)) is None
    assert curve.offer(item, market(price=200_000), BlockHeight(300)) is None


@given(
    st.integers(254, 400),
    st.lists(st.one_of(st.none(), st.integers(25, 300_000)), min_size=150, max_size=150),
    st.integers(1_000, 5_000_000),
    st.integers(1, 100),
)
def test_l7_an_offer_never_falls_and_never_passes_the_budget(
    deadline: int, prices: list[int | None], value_sat: int, percent: int
) -> None:
    facts = Wanted(
        1,
        ContractKind.RECEIVED_HTLC,
        value_sat,
        deadline=deadline,
        budget_percent=percent,
        started=250,
    )
    offered = 0
    for height, price in zip(heights(250, 400), prices, strict=True):
        item = Wanted(**{**facts.__dict__, "offered": offered}).item()
        offer = curve.offer(item, market(price=price), height)
        if offer is None:
            assert limit(item) < 253
            continue
        assert offered <= offer <= max(limit(item), offered)
        offered = offer


@given(st.integers(101, 300), st.integers(3, 300))
def test_one_block_before_its_deadline_the_whole_budget_is_offered(
    deadline: int, started: int
) -> None:
    item = Wanted(1, ContractKind.OFFERED_HTLC, deadline=deadline, started=started).item()
    by = curve.deadline(item)
    assert by == max(deadline, started + 3)
    assert curve.offer(item, market(), BlockHeight(by - 1)) == limit(item)
    assert curve.offer(item, market(), BlockHeight(by + 9)) == limit(item)
    # A reorg took the block in which it was asked for.
    assert curve.offer(item, market(), BlockHeight(started - 2)) == 253


def test_what_cannot_pay_the_floor_waits() -> None:
    for item in (Wanted(1, value_sat=400).item(), Wanted(2, value_sat=400, deadline=101).item()):
        assert curve.offer(item, market(floor=5_000, price=6_000), BlockHeight(200)) is None
        # To the satoshi: what is never offered is given up in the end.
        most = limit(item)
        assert curve.offer(item, market(floor=most, price=most), BlockHeight(200)) == most
        too_dear = market(floor=most + 1, price=most)
        assert curve.offer(item, too_dear, BlockHeight(200)) is None
        assert gather([item], too_dear, BlockHeight(200)).waiting == (item,)


def grouped(items: list[SweepInput], alone: tuple[OutPoint, ...] = ()) -> list[set[OutPoint]]:
    found = gather(items, market(price=1_000), BlockHeight(100), alone)
    return [set(group.outpoints) for group in found.groups]


def test_what_has_no_deadline_is_one_transaction_for_a_node() -> None:
    items = [Wanted(n).item() for n in range(10)]
    assert grouped(items) == [{item.outpoint for item in items}]


def test_no_group_grows_beyond_what_nodes_relay() -> None:
    sizes = [len(group) for group in grouped([Wanted(n).item() for n in range(150)])]
    assert sizes == [MOST_MEMBERS, MOST_MEMBERS, 150 - 2 * MOST_MEMBERS]


def test_deadlines_keep_apart_and_go_first() -> None:
    calm = Wanted(1, value_sat=9_000_000).item()
    soon = [Wanted(n, ContractKind.OFFERED_HTLC, deadline=130).item() for n in (2, 3)]
    later = [
        Wanted(n, ContractKind.OFFERED_HTLC, value, deadline=160, txid=Txid(bytes([n]) * 32)).item()
        for n, value in ((4, 900_000), (5, 950_000))
    ]
    found = grouped([calm, *later, *soon], (later[0].outpoint,))
    # The nearest deadline first; of those with the same, the most at stake.
    assert found == [
        {soon[0].outpoint, soon[1].outpoint},
        {later[1].outpoint},
        {later[0].outpoint},
        {calm.outpoint},
    ]


def test_l10_of_one_deadline_the_most_at_stake_goes_first() -> None:
    """Of a commitment that is what it may cost, and not its anchor's 330 sat."""
    small, large = (second_level(n, 2 * 10**n, deadline=140) for n in (4, 5))
    child = bump(50_000, deadline=140)
    found = gather([small, child, large], market(price=50_000), BlockHeight(100), (large.outpoint,))
    assert [group.members[0] for group in found.groups] == [large, child, small]


def test_h3_second_level_transactions_share_their_lock_time() -> None:
    same = [second_level(n, deadline=130, expiry=110) for n in (1, 2)]
    other = second_level(3, deadline=130, expiry=111)
    found = grouped([*same, other])
    assert {same[0].outpoint, same[1].outpoint} in found
    assert {other.outpoint} in found


def test_justice_goes_by_commitment() -> None:
    kinds = (ContractKind.REVOKED_TO_LOCAL, ContractKind.REVOKED_HTLC)
    first, second = Txid(b"\x01" * 32), Txid(b"\x02" * 32)
    items = [
        Wanted(n, kind, deadline=140, txid=txid).item()
        for txid in (first, second)
        for n, kind in enumerate(kinds)
    ]
    assert sorted(len(group) for group in grouped(items)) == [2, 2]


def test_l7_a_contested_one_goes_alone() -> None:
    items = [Wanted(n).item() for n in range(4)]
    found = grouped(items, (items[2].outpoint,))
    assert sorted(len(group) for group in found) == [1, 3]


def test_who_cannot_afford_the_groups_rate_goes_without_it() -> None:
    rich = Wanted(1, ContractKind.OFFERED_HTLC, 1_000_000, deadline=101).item()
    poor = Wanted(2, ContractKind.OFFERED_HTLC, 2_000, deadline=101).item()
    found = gather([rich, poor], market(price=1_000), BlockHeight(102)).groups
    assert [group.outpoints for group in found] == [{rich.outpoint}, {poor.outpoint}]
    for group in found:
        assert all(limit(member) >= group.feerate_per_kw for member in group.members)


@pytest.mark.parametrize("members", [2, 3, 64])
def test_l6_halves_lose_nobody(members: int) -> None:
    items = [Wanted(n).item() for n in range(members)]
    [group] = gather(items, market(price=1_000), BlockHeight(100)).groups
    parts = halves(group, market(price=1_000))
    assert [len(part.members) for part in parts] == [members // 2, members - members // 2]
    assert {part.feerate_per_kw for part in parts} == {group.feerate_per_kw}
    assert frozenset[OutPoint]().union(*(part.outpoints for part in parts)) == group.outpoints


def test_l8_nobody_is_held_by_those_it_is_left_with_in_a_half() -> None:
    """Two small ones: only with the rich one among them can they be taken apart again."""
    rich = Wanted(0, ContractKind.RECEIVED_HTLC, 100_000, deadline=130).item()
    poor = [Wanted(n, ContractKind.RECEIVED_HTLC, 3_000 + n, deadline=130).item() for n in (1, 2)]
    told = market(price=2_500)
    [group] = gather([rich, *poor], told, BlockHeight(100)).groups
    assert [len(part.members) for part in halves(group, told)] == [1, 1, 1]


def test_a_commitment_is_bumped_by_itself() -> None:
    item = bump(50_000, deadline=120)
    [group] = gather([item, item], market(price=1_000), BlockHeight(100)).groups
    assert group.kind is GroupKind.BUMP
    second = second_level(3)
    assert second.second_level
    assert not Wanted(4, ContractKind.OFFERED_HTLC, owner=Side.REMOTE).item().second_level
