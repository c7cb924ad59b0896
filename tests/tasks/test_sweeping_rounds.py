"""Rounds of the sweeper: what is taken apart or left out is on its way again in the same block."""

from __future__ import annotations

import pytest

from chain.devnet.process import DevnetProcess
from contractcourt.channel import Side
from contractcourt.policy import Policy
from contractcourt.units import FeeratePerKw
from storage import broadcasts
from storage.database import Connection
from storage.sweep_inputs import SweepState
from tasks.resources import Resources
from tasks.sweeper.desk import Desk
from tasks.sweeper.tending import Tending
from tests.contractcourt.sweeping.wanted import market
from tests.tasks.sweeps import NODE, STARTED, Sweeps
from workers.simulation.peer import Peer

_DEADLINE = STARTED + 10
_LAST = _DEADLINE - 1
_USUAL = Policy()


def test_l7_a_contest_found_in_the_last_block_is_regrouped_in_it(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    world = Sweeps(sweeper, devnet)
    closed = world.closed("contest", Side.REMOTE, [60_000, 60_000])
    left, taken = (closed.want(n, deadline=_DEADLINE, budget_sat=1_500) for n in (1, 2))
    world.round(STARTED, price=1_000)
    together = world.in_mempool(left)
    assert together is not None
    assert together == world.in_mempool(taken)
    # It pays more for itself than both are worth to us, and stays.
    closed.claimed_by_the_peer(2)
    assert world.in_mempool(left) is None
    world.round(_LAST, price=1_000)
    alone = world.in_mempool(left)
    assert alone is not None
    assert len(alone.inputs) == 1


def test_l7_what_a_block_took_a_part_of_never_travels_together_again(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    """Else a peer that has one mined with every block would keep the others from it for ever."""
    world = Sweeps(sweeper, devnet)
    closed = world.closed("mined", Side.REMOTE, [60_000, 50_000, 40_000])
    taken, *left = (closed.want(n, deadline=_DEADLINE, budget_sat=30_000) for n in (1, 2, 3))
    world.round(STARTED, price=1_000)
    together = world.in_mempool(taken)
    assert together is not None
    assert all(world.in_mempool(one) == together for one in left)
    closed.spent_by(closed.mined_by_the_peer(1), taken)
    world.round(STARTED + 1, price=1_000)
    for one in left:
        alone = world.in_mempool(one)
        assert alone is not None
        assert len(alone.inputs) == 1


def test_c7_what_was_out_before_it_had_a_deadline_is_raised_by_urgent_rounds(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    """As our commitment's child, when a preimage is learned while the commitment waits."""
    world = Sweeps(sweeper, devnet)
    closed = world.closed("hurries", Side.REMOTE, [60_000])
    htlc = closed.want(1, deadline=None, budget_sat=30_000)
    world.round(STARTED, price=1_000, urgent=False)
    assert world.feerate(htlc) >= 1_000
    closed.want(1, deadline=_DEADLINE, budget_sat=30_000)
    world.round(_LAST, price=1_000)
    assert world.feerate(htlc) > 20_000


def test_l8_whoever_is_left_out_of_a_better_offer_gets_a_coin_in_the_same_block(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    """Two coins are enough for two: the first is free when the second pays for the strongest."""
    world = Sweeps(sweeper, devnet, 5_000, 60_000)
    closed = world.closed("left out", Side.LOCAL, [60_000, 50_000])
    rich = closed.want(1, deadline=_DEADLINE, budget_sat=30_000)
    poor = closed.want(2, deadline=_DEADLINE, budget_sat=4_000)
    world.round(STARTED, price=1_000)
    together = world.in_mempool(rich)
    assert together is not None
    assert together == world.in_mempool(poor)
    world.round(_LAST, price=1_000)
    assert world.feerate(rich) > 20_000
    assert world.feerate(poor) > 3_500


@pytest.mark.parametrize("proved", [True, False])
def test_several_outputs_of_two_closes_and_several_coins_in_one_transaction(
    sweeper: Resources, devnet: DevnetProcess, proved: bool
) -> None:
    """The signer is shown what made each of them, but for the last coin where that is unknown."""
    world = Sweeps(sweeper, devnet, 3_000, 2_500)
    world.coin(2_800, proved=proved)
    closes = [world.closed(name, Side.LOCAL, [60_000, 50_000]) for name in ("one", "two")]
    htlcs = [c.want(n, deadline=_DEADLINE, budget_sat=30_000) for c in closes for n in (1, 2)]
    world.round(STARTED, price=1_800)
    together = world.in_mempool(htlcs[0])
    assert together is not None
    spent = {one.outpoint for one in together.inputs}
    assert spent >= set(htlcs)
    assert len(spent) > len(htlcs) + 1
    assert world.alarms().keys() <= {"fee_wallet_short"}


def test_coins_that_nobody_saw_made_pay_one_at_a_time(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    world = Sweeps(sweeper, devnet)
    coins = [world.coin(value, proved=False) for value in (3_000, 2_500)]
    closed = world.closed("unproved", Side.LOCAL, [60_000, 50_000])
    htlcs = [closed.want(n, deadline=_DEADLINE, budget_sat=30_000) for n in (1, 2)]
    world.round(STARTED, price=2_000)
    out = [world.in_mempool(htlc) for htlc in htlcs]
    for tx in out:
        assert tx is not None
        assert len({spent.outpoint for spent in tx.inputs} & set(coins)) == 1
    assert "quarantined" not in world.alarms()


def test_outputs_of_two_closes_are_swept_by_one_transaction(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    world = Sweeps(sweeper, devnet)
    closes = [world.closed(name, Side.REMOTE, [60_000]) for name in ("one", "two")]
    first, second = (c.want(1, deadline=_DEADLINE, budget_sat=30_000) for c in closes)
    world.round(STARTED, price=1_000)
    assert world.in_mempool(first) == world.in_mempool(second) is not None


def test_l7_what_is_taken_back_is_paid_for_with_the_coins_it_had(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    world = Sweeps(sweeper, devnet, 60_000)
    closed = world.closed("taken back", Side.LOCAL, [60_000, 60_000])
    left, taken = (closed.want(n, deadline=_DEADLINE, budget_sat=30_000) for n in (1, 2))
    world.round(STARTED, price=1_000)
    assert world.in_mempool(left) == world.in_mempool(taken) is not None
    closed.mined_by_the_peer(2)
    world.round(STARTED + 1, price=1_000)
    alone = world.in_mempool(left)
    assert alone is not None
    assert {spent.outpoint for spent in alone.inputs} == {left, *world.coins}


def test_l5_a_refusal_that_nobody_knows_is_tried_again_and_alarmed(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    world = Sweeps(sweeper, devnet, 60_000)
    closed = world.closed("unknown", Side.LOCAL, [60_000])
    htlc = closed.want(1, deadline=_DEADLINE, budget_sat=30_000)
    reason = "a-reason-of-a-release-to-come"
    refusal = {"code": -26, "message": reason}
    for method in ("testmempoolaccept", "sendrawtransaction"):
        world.rpc("devnet_set_fault", method, 100, refusal)
    for height in (STARTED, STARTED + 1):
        world.round(height, price=1_000)
        row = closed.row(htlc)
        assert (row.state, row.reason) == (SweepState.WANTED, reason)
        assert reason in world.alarms()["unknown_refusal"]
    world.rpc("devnet_clear_faults")
    world.round(STARTED + 2, price=1_000)
    assert world.in_mempool(htlc) is not None


def test_b8_what_is_quarantined_leaves_its_coin_to_others(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    world = Sweeps(sweeper, devnet, 60_000)
    closed = world.closed("quarantine", Side.LOCAL, [60_000, 50_000])
    refused = closed.want(1, deadline=_DEADLINE, budget_sat=30_000)
    other = closed.want(2, deadline=_DEADLINE + 1, budget_sat=30_000)
    for method in ("testmempoolaccept", "sendrawtransaction"):
        world.rpc("devnet_set_fault", method, 1, {"code": -26, "message": "scriptsig-not-pushonly"})
    world.round(STARTED, price=1_000)
    assert closed.row(refused).state is SweepState.QUARANTINED
    assert world.in_mempool(other) is not None


def test_l10_a_better_offer_that_the_wallet_cannot_pay_is_alarmed(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    world = Sweeps(sweeper, devnet, 2_000)
    closed = world.closed("poor wallet", Side.LOCAL, [60_000])
    htlc = closed.want(1, deadline=_DEADLINE, budget_sat=30_000)
    world.round(STARTED, price=900)
    assert "fee_wallet_short" not in world.alarms()
    # All of the coin, and far less than what is offered.
    world.round(STARTED + 1, price=8_000)
    sent = world.in_mempool(htlc)
    assert 900 * 1.2 < world.feerate(htlc) < 2_000
    assert "fee_wallet_short" in world.alarms()
    # Nothing is left for another step.
    world.clear_alarms()
    world.round(STARTED + 2, price=8_000)
    assert world.in_mempool(htlc) == sent
    assert "lacks" in world.alarms()["fee_wallet_short"]
    # With money it is over.
    world.coin(60_000)
    world.round(STARTED + 3, price=8_000)
    assert world.feerate(htlc) >= 8_000
    assert "fee_wallet_short" not in world.alarms()


def test_l6_a_better_offer_that_is_not_signed_is_alarmed(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    world = Sweeps(sweeper, devnet, 60_000)
    closed = world.closed("not signed", Side.LOCAL, [60_000])
    htlc = closed.want(1, deadline=_DEADLINE, budget_sat=30_000)
    world.round(STARTED, price=900)
    sent = world.in_mempool(htlc)
    assert sent is not None
    sweeper.db.run(lambda conn: conn.execute("DELETE FROM sealed_secrets"))
    world.round(_LAST, price=900)
    assert world.in_mempool(htlc) == sent
    assert closed.row(htlc).state is SweepState.WANTED
    assert "not_signed" in world.alarms()


def test_a_better_offer_that_the_node_refuses_is_alarmed(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    """As when somebody's wallet has spent what the sweep pays, at a high fee (BIP 125 rule 3)."""
    world = Sweeps(sweeper, devnet)
    closed = world.closed("held fast", Side.REMOTE, [60_000])
    htlc = closed.want(1, deadline=_DEADLINE, budget_sat=30_000)
    world.round(STARTED, price=900)
    sent = world.in_mempool(htlc)
    assert sent is not None
    reason = "insufficient fee, rejecting replacement"
    refusal = {"code": -26, "message": reason}
    world.rpc("devnet_set_fault", "testmempoolaccept", 100, refusal)
    world.round(_LAST, price=900)
    assert world.in_mempool(htlc) == sent
    assert reason in world.alarms()["contested"]
    world.rpc("devnet_clear_faults")
    world.round(_LAST + 1, price=900)
    assert world.feerate(htlc) > 10_000
    assert "contested" not in world.alarms()


def test_l1_what_the_floor_has_left_behind_is_alarmed_and_given_up(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    """It was out, and is worth no more than the mempool asks for now: like what never was."""
    world = Sweeps(sweeper, devnet, 60_000)
    closed = world.closed("left behind", Side.LOCAL, [60_000])
    htlc = closed.want(1, deadline=_DEADLINE, budget_sat=2_000)
    world.round(STARTED, price=900)
    assert world.in_mempool(htlc) is not None
    world.rpc("devnet_set_mempool_floor", 20_000)
    world.rpc("devnet_clear_mempool")
    for height in (STARTED + 1, STARTED + 2):
        world.round(height, price=900, floor=5_000)
    assert world.out() == []
    assert "the mempool asks for 5000" in world.alarms()["not_worth_sweeping"]
    world.rpc("devnet_set_mempool_floor", None)
    world.round(STARTED + 3, price=900)
    assert world.feerate(htlc) >= 900
    world.rpc("devnet_set_mempool_floor", 20_000)
    world.rpc("devnet_clear_mempool")
    for height in (STARTED + 4, STARTED + _USUAL.give_up_blocks):
        world.round(height, price=900, floor=5_000)
    world.rpc("devnet_set_mempool_floor", None)
    assert closed.row(htlc).state is SweepState.GIVEN_UP


def test_l10_a_contest_that_the_wallet_cannot_pay_for_is_no_matter_of_the_budget(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    world = Sweeps(sweeper, devnet, 650)
    closed = world.closed("contested", Side.LOCAL, [60_000])
    htlc = closed.want(1, deadline=_DEADLINE, budget_sat=30_000)
    theirs = Peer(closed.sim).claim(closed.sim.number, 1, closed.sim.preimage(1))
    world.rpc("sendrawtransaction", theirs.serialize().hex())
    world.round(STARTED, price=900)
    assert world.in_mempool(htlc) == theirs
    assert "contested" not in world.alarms()
    assert "lacks" in world.alarms()["fee_wallet_short"]
    world.coin(60_000)
    world.round(STARTED + 1, price=900)
    assert world.in_mempool(htlc) not in (theirs, None)
    assert "fee_wallet_short" not in world.alarms()


def test_l10_a_group_that_the_wallet_cannot_pay_for_is_made_smaller(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    """One coin pays for six of eight at the price of now."""
    world = Sweeps(sweeper, devnet, 12_000)
    values = [60_000 + number for number in range(8)]
    closed = world.closed("short", Side.LOCAL, values)
    htlcs = [closed.want(n, deadline=_DEADLINE, budget_sat=30_000) for n in range(1, 9)]
    world.round(STARTED, price=2_900)
    out = [world.feerate(htlc) >= 2_700 for htlc in htlcs]
    assert out == [False] * 2 + [True] * 6
    assert "lacks" in world.alarms()["fee_wallet_short"]
    for htlc in htlcs[:2]:
        assert "lacks" in (closed.row(htlc).reason or "")


def test_l10_the_only_coin_goes_to_the_nearest_deadline(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    world = Sweeps(sweeper, devnet, 60_000)
    closed = world.closed("nearest", Side.LOCAL, [60_000, 50_000])
    far = closed.want(1, deadline=_DEADLINE + 1_000, budget_sat=30_000)
    near = closed.want(2, deadline=_DEADLINE, budget_sat=25_000)
    world.round(_LAST, price=1_000)
    assert world.in_mempool(near) is not None
    assert world.in_mempool(far) is None


@pytest.mark.parametrize("more_urgent", [True, False])
def test_l10_a_better_offer_keeps_its_coin_from_what_is_less_urgent(
    sweeper: Resources, devnet: DevnetProcess, more_urgent: bool
) -> None:
    world = Sweeps(sweeper, devnet, 2_000, 60_000)
    closed = world.closed("rank", Side.LOCAL, [60_000, 50_000])
    deadline = _DEADLINE + 100
    out = closed.want(1, deadline=deadline, budget_sat=30_000)
    world.round(STARTED, price=900)
    assert 900 <= world.feerate(out) < 1_000
    free = closed.want(2, deadline=deadline + (1 if more_urgent else -1), budget_sat=25_000)
    world.round(STARTED + 1, price=8_000)
    assert (world.feerate(out) >= 8_000) is more_urgent
    assert (world.feerate(free) >= 8_000) is not more_urgent


@pytest.mark.parametrize("price", [0, 1])
def test_an_offer_of_next_to_nothing_is_raised_until_the_node_takes_it(
    sweeper: Resources, devnet: DevnetProcess, price: int
) -> None:
    world = Sweeps(sweeper, devnet)
    closed = world.closed("nothing", Side.REMOTE, [60_000])
    htlc = closed.want(1, deadline=_DEADLINE, budget_sat=30_000)
    # The node asks for more than it says.
    world.round(STARTED, price=price, floor=0)
    assert 25 <= world.feerate(htlc) < 50


def test_no_feerate_of_a_policy_is_beyond_what_the_signer_signs(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    """In the last block before its deadline an HTLC is worth its whole budget."""
    world = Sweeps(sweeper, devnet)
    closed = world.closed("dear", Side.REMOTE, [580_000])
    dearest = Policy(max_feerate_per_kw=FeeratePerKw(2_000_000))
    htlc = closed.want(1, deadline=_DEADLINE, budget_sat=580_000, policy=dearest)
    world.round(_LAST, price=1_000)
    assert closed.row(htlc).state is SweepState.WANTED
    assert world.feerate(htlc) > 590_000


def test_what_is_mined_while_a_round_is_under_way_counts_as_mined(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    """The round began before the block, and tends what is out after it."""
    world = Sweeps(sweeper, devnet)
    closed = world.closed("meanwhile", Side.REMOTE, [60_000])
    htlc = closed.want(1, deadline=_DEADLINE, budget_sat=30_000)
    world.round(STARTED, price=1_000)
    sweep = world.in_mempool(htlc)
    assert sweep is not None
    told = market(price=1_000)
    tending = Tending(Desk.of(sweeper, NODE, STARTED, told, urgent=True))
    closed.spent_by(sweep, htlc)
    tending.run(None)

    def state_and_fee(conn: Connection) -> tuple[str, int]:
        found = broadcasts.find(conn, sweep.txid())
        assert found is not None
        return found.state, broadcasts.fees_paid(conn, closed.channel_id).get(htlc, 0)

    state, fee = sweeper.db.run(state_and_fee)
    assert (state, fee) == ("confirmed", 60_000 - sweep.outputs[0].value)


def test_l6_keys_that_do_not_open_hold_up_no_other_channel(
    sweeper: Resources, devnet: DevnetProcess
) -> None:
    """The signer answers that it failed, for one of many: it is not away."""
    world = Sweeps(sweeper, devnet)
    damaged, whole = (world.closed(name, Side.REMOTE, [60_000]) for name in ("damaged", "whole"))
    held_back = damaged.want(1, deadline=_DEADLINE, budget_sat=30_000)
    later = whole.want(1, deadline=_DEADLINE + 1, budget_sat=30_000)
    spoiled = (b"\x01" + bytes(60), f"channel/{damaged.sim.channel.channel_point}")
    spoil = "UPDATE sealed_secrets SET sealed = %s WHERE name = %s"
    sweeper.db.run(lambda conn: conn.execute(spoil, spoiled))
    for height in (STARTED, STARTED + 1):
        world.round(height, price=1_000)
        assert world.in_mempool(later) is not None
        assert damaged.row(held_back).state is SweepState.WANTED
        assert "does not open" in world.alarms()["not_signed"]
