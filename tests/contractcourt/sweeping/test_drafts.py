"""Drafts: never below the rate asked for, never above the budget, and no satoshi unaccounted."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import Side
from contractcourt.contract import ContractKind
from contractcourt.effects import BumpCommitment
from contractcourt.sweeping.drafts import Draft, Shortfall, draft, most_shared, shares_of
from contractcourt.sweeping.groups import Group, GroupKind, gather
from contractcourt.sweeping.inputs import dust_threshold, fee_for, parent_fee, parent_weight
from contractcourt.sweeping.replacing import Replaced
from contractcourt.units import BlockHeight, FeeratePerKw, Satoshi, Script, Txid, WeightUnits
from tests.contractcourt.sweeping.wanted import SIM, Wanted, bump, market, second_level, wallet
from workers.simulation.channel import SimulatedChannel

FLOOR = FeeratePerKw(25)
DIRECT = [
    (ContractKind.TO_LOCAL, Side.LOCAL),
    (ContractKind.TO_REMOTE, Side.REMOTE),
    (ContractKind.OFFERED_HTLC, Side.REMOTE),
    (ContractKind.RECEIVED_HTLC, Side.REMOTE),
    (ContractKind.SECOND_LEVEL, Side.LOCAL),
    (ContractKind.REVOKED_TO_LOCAL, Side.REMOTE),
    (ContractKind.REVOKED_HTLC, Side.REMOTE),
    (ContractKind.REVOKED_SECOND_LEVEL, Side.REMOTE),
]


def value_of(drafted: Draft) -> int:
    """What all inputs hold."""
    members = sum(member.contract.value_sat for member in drafted.group.members)
    return members + sum(coin.value_sat for coin in drafted.coins)


def assert_adds_up(drafted: Draft) -> None:
    out = sum(output.value for output in drafted.tx.outputs)
    assert out + drafted.fee_sat == value_of(drafted)
    assert sum(drafted.shares) == drafted.fee_sat
    assert all(
        output.value >= 330 or len(output.script_pubkey) == 22 for output in drafted.tx.outputs
    )


@given(
    st.sampled_from(DIRECT),
    st.integers(25, 2_500_000),
    st.integers(330, 10**9),
    st.integers(1, 5),
)
def test_b9_the_fee_meets_the_rate_from_a_tenth_to_ten_thousand_sat_per_vbyte(
    kind: tuple[ContractKind, Side], feerate: int, value_sat: int, members: int
) -> None:
    items = [Wanted(n, kind[0], value_sat, owner=kind[1]).item() for n in range(members)]
    group = Group(GroupKind.DIRECT, tuple(items), FeeratePerKw(feerate))
    drafted = draft(group, wallet(), FLOOR)
    if isinstance(drafted, Shortfall):
        assert drafted.missing_sat > 0
        assert not drafted.wallet
        return
    assert_adds_up(drafted)
    assert drafted.weight % 4 == 0
    assert fee_for(FeeratePerKw(feerate), drafted.weight) == drafted.fee_sat <= group.budget_sat
    assert drafted.tx.outputs[0].value >= dust_threshold(SIM.sweep_script)
    unsigned = drafted.tx.weight()
    assert unsigned < drafted.weight < unsigned + 600 * members


@given(
    st.lists(st.integers(400, 200_000), min_size=1, max_size=8),
    st.integers(25, 100_000),
    st.lists(st.integers(300, 500_000), max_size=6),
)
def test_h4_second_level_transactions_keep_each_output_at_its_inputs_index(
    values: list[int], feerate: int, coins: list[int]
) -> None:
    items = [second_level(n, value_sat=value) for n, value in enumerate(values)]
    group = Group(GroupKind.SECOND_LEVEL, tuple(items), FeeratePerKw(feerate))
    drafted = draft(group, wallet(*coins), FLOOR)
    if isinstance(drafted, Shortfall):
        return
    assert_adds_up(drafted)
    assert drafted.fee_sat <= group.budget_sat
    assert drafted.fee_sat >= fee_for(FLOOR, drafted.weight)
    assert drafted.tx.locktime == 500
    for index, value in enumerate(values):
        assert drafted.tx.inputs[index].outpoint == items[index].outpoint
        assert drafted.tx.inputs[index].sequence == 1
        assert drafted.tx.outputs[index].value == value
        assert len(drafted.tx.outputs[index].script_pubkey) == 34
    assert len(drafted.tx.outputs) == len(values) + 1


@pytest.mark.parametrize("owner", Side)
def test_r5_an_htlc_that_is_claimed_by_its_preimage_waits_for_no_expiry(owner: Side) -> None:
    """Until then it has to be mined: after it the peer may take it back."""
    item = Wanted(1, ContractKind.RECEIVED_HTLC, owner=owner).item()
    drafted = draft(Group.alone(item, FeeratePerKw(1_000)), wallet(100_000), FLOOR)
    assert isinstance(drafted, Draft)
    assert drafted.tx.locktime == 0


def test_r5_whoever_travels_with_a_timeout_has_its_lock_time() -> None:
    claimed = Wanted(1, ContractKind.RECEIVED_HTLC, deadline=518, expiry=518).item()
    timed_out = Wanted(2, ContractKind.OFFERED_HTLC, deadline=518, expiry=500).item()
    [group] = gather([claimed, timed_out], market(price=1_000), BlockHeight(100)).groups
    drafted = draft(group, wallet(), FLOOR)
    assert isinstance(drafted, Draft)
    assert drafted.tx.locktime == 500


def test_l8_with_half_of_the_fee_fundable_the_attempt_still_starts() -> None:
    group = Group.alone(second_level(1, value_sat=500_000), FeeratePerKw(50_000))
    rich, poor = draft(group, wallet(200_000), FLOOR), draft(group, wallet(25_000), FLOOR)
    assert isinstance(rich, Draft)
    assert isinstance(poor, Draft)
    assert rich.fee_sat > 40_000
    assert poor.fee_sat == 25_000 - 294
    assert_adds_up(poor)


def test_l9_a_parent_weighs_what_it_weighs_with_both_signatures() -> None:
    sim = SimulatedChannel("weighed", feerate_per_kw=253).funded(OutPoint.of(Txid(b"\x08" * 32), 0))
    signed = sim.our_commitment_tx().weight()
    assert signed <= parent_weight(sim.local_commitment(0)) <= signed + 8


@pytest.mark.parametrize(
    ("feerate", "own", "package"),
    [(1_000, 253, 1_000), (10_000, 253, 10_000), (40_000, 1_000, 40_000), (300, 253, 300)],
)
def test_l9_a_child_pays_for_both(feerate: int, own: int, package: int) -> None:
    item = bump(200_000, feerate_per_kw=own)
    drafted = draft(Group.alone(item, FeeratePerKw(feerate)), wallet(300_000), FLOOR)
    assert isinstance(drafted, Draft)
    assert isinstance(item.want, BumpCommitment)
    commitment = item.want.commitment
    paid = parent_fee(item.channel, commitment) + drafted.fee_sat
    both = parent_weight(commitment) + drafted.weight
    assert paid * 1000 // both == drafted.feerate_per_kw == package
    assert drafted.tx.inputs[0].outpoint == item.outpoint
    assert_adds_up(drafted)


def test_l9_a_child_never_pays_more_than_its_budget() -> None:
    group = Group.alone(bump(2_000), FeeratePerKw(40_000))
    drafted = draft(group, wallet(300_000), FLOOR)
    assert isinstance(drafted, Draft)
    assert drafted.fee_sat == 2_000


@given(st.integers(25, 20_000), st.integers(0, 20_000), st.integers(25, 2_000))
def test_a_replacement_pays_all_of_the_old_fee_and_its_own_relay(
    feerate: int, old_fee: int, incremental: int
) -> None:
    group = Group.alone(Wanted(1, value_sat=200_000).item(), FeeratePerKw(feerate))
    step, weight = FeeratePerKw(incremental), WeightUnits(10**6)
    replaced = Replaced(Satoshi(old_fee), FeeratePerKw(0), step, weight)
    drafted = draft(group, wallet(), FLOOR, replaced)
    assert isinstance(drafted, Draft)
    assert drafted.fee_sat >= old_fee + fee_for(FeeratePerKw(incremental), drafted.weight)
    assert drafted.fee_sat >= fee_for(FeeratePerKw(feerate), drafted.weight)


@given(
    st.booleans(),
    st.integers(1_000, 20_000),
    st.lists(st.integers(600, 4_000), min_size=1, max_size=12),
    st.integers(253, 4_000),
    st.integers(253, 8_000),
)
@example(True, 11_379, [923, 3_503], 1_934, 5_275)
@example(True, 18_750, [637, 2_774], 1_636, 2_266)
def test_l9_what_is_replaced_has_a_lower_feerate_child_and_package(
    is_child: bool, budget_sat: int, coins: list[int], feerate: int, better: int
) -> None:
    item = bump(budget_sat) if is_child else second_level(1, value_sat=2 * budget_sat)
    old = draft(Group.alone(item, FeeratePerKw(feerate)), wallet(*coins), FLOOR)
    if not isinstance(old, Draft):
        return
    replaced = Replaced(old.fee_sat, old.feerate_per_kw, FeeratePerKw(250), old.weight)
    new = draft(Group.alone(item, FeeratePerKw(better)), wallet(*coins), FLOOR, replaced)
    if isinstance(new, Draft):
        assert new.feerate_per_kw > old.feerate_per_kw
        assert new.fee_sat * 4_000 // new.weight > old.fee_sat * 4_000 // old.weight


@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(100, 2_000)), min_size=1))
def test_the_most_that_is_shared_passes_no_budget(members: list[tuple[int, int]]) -> None:
    budgets = [Satoshi(budget) for budget, _ in members]
    own = [WeightUnits(weight) for _, weight in members]
    most = most_shared(budgets, own)
    assert all(a <= b for a, b in zip(shares_of(most, own), budgets, strict=True))
    # No more than one satoshi each is left unused.
    more = shares_of(Satoshi(most + sum(own)), own)
    assert any(a > b for a, b in zip(more, budgets, strict=True))


def test_l25_of_many_small_ones_none_pays_more_than_its_budget() -> None:
    """A few satoshi that do not divide among 64 were more than half of one's budget."""
    revoked, one_close = ContractKind.REVOKED_HTLC, Txid(b"\x01" * 32)
    items = [
        Wanted(n, revoked, 600, deadline=104, budget_percent=10, txid=one_close).item()
        for n in range(64)
    ]
    [group] = gather(items, market(floor=25), BlockHeight(100)).groups
    drafted = draft(group, wallet(), FeeratePerKw(25))
    assert isinstance(drafted, Draft)
    assert max(drafted.shares) <= 60 == items[0].want.budget_sat


@given(st.integers(0, 10**7), st.lists(st.integers(100, 2_000), min_size=1, max_size=64))
def test_l25_shares_of_a_fee_add_up_to_the_satoshi(fee: int, own: list[int]) -> None:
    shares = shares_of(Satoshi(fee), [WeightUnits(weight) for weight in own])
    assert sum(shares) == fee
    assert all(share >= 0 for share in shares)


def test_dust_is_what_nodes_call_dust() -> None:
    thresholds = {22: 294, 34: 330, 23: 540, 25: 546}
    for length, sat in thresholds.items():
        assert dust_threshold(Script(bytes(length))) == sat
