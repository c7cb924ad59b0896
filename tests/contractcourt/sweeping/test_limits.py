"""Limits: what one input can pay by itself, to the satoshi."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from contractcourt.channel import Side
from contractcourt.contract import ContractKind
from contractcourt.sweeping.drafts import Draft, draft
from contractcourt.sweeping.groups import Group
from contractcourt.sweeping.inputs import SweepInput, input_weight, limit
from contractcourt.units import FeeratePerKw
from tests.contractcourt.sweeping.wanted import Wanted, bump, second_level, wallet

_LEAST = FeeratePerKw(1)


def at(item: SweepInput, feerate: int) -> Draft | None:
    """Its transaction, the wallet being rich."""
    made = draft(Group.alone(item, FeeratePerKw(feerate)), wallet(10**9), _LEAST)
    return made if isinstance(made, Draft) else None


@given(st.integers(1_000, 60_000), st.sampled_from([5, 50, 100]))
def test_at_its_limit_an_output_pays_its_budget_or_all_but_dust(
    value_sat: int, percent: int
) -> None:
    kind = ContractKind.REVOKED_HTLC
    item = Wanted(1, kind, value_sat, deadline=110, budget_percent=percent).item()
    made = at(item, limit(item))
    assert made is not None
    assert made.fee_sat <= item.want.budget_sat
    assert at(item, limit(item) + 2) is None


@given(st.integers(2_000, 60_000))
def test_at_its_limit_what_the_wallet_pays_for_costs_its_budget(budget_sat: int) -> None:
    for item in (second_level(1, value_sat=2 * budget_sat), bump(budget_sat)):
        made = at(item, limit(item))
        assert made is not None
        assert made.feerate_per_kw >= limit(item)
        # One satoshi for 1000 weight units more would be too much.
        assert budget_sat - 3 <= made.fee_sat <= budget_sat


def test_no_limit_is_beyond_the_policy_of_the_node() -> None:
    for item in (Wanted(1).item(), second_level(1), bump(50_000)):
        assert limit(replace(item, max_feerate_per_kw=FeeratePerKw(300))) == 300


def test_a_success_weighs_a_preimage_and_an_expiry_more_than_a_timeout() -> None:
    """32 bytes, and 7 of the script: 140 to 133 (BOLT 3, "Appendix A")."""
    offered, received = (
        Wanted(1, kind, owner=Side.LOCAL).item().contract
        for kind in (ContractKind.OFFERED_HTLC, ContractKind.RECEIVED_HTLC)
    )
    assert input_weight(received) - input_weight(offered) == 39
