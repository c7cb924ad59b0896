"""What becomes of a transaction that the Bitcoin node will not take (users_ask L2, L4, L20)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY, Direction
from tests.scenarios.stack import StackCourt
from workers.simulation.channel import SimulatedChannel
from workers.simulation.court import RunningCourt

#: Satoshi for 1000 virtual bytes: far above what a commitment at 1,000 sat/kw pays.
_HIGH_FLOOR = 100_000


@pytest.fixture
def stack(court: RunningCourt) -> Iterator[StackCourt]:
    yield StackCourt(court)
    court.client.rpc("devnet_clear_faults")
    court.client.rpc("devnet_set_mempool_floor", None)


def _broadcasts(court: RunningCourt, sim: SimulatedChannel) -> list[dict[str, Any]]:
    case = court.client.channel(str(sim.channel.channel_point))
    broadcasts: list[dict[str, Any]] = case["broadcasts"]
    return broadcasts


def test_l4_a_commitment_below_the_floor_is_retried_until_the_floor_falls(
    court: RunningCourt, stack: StackCourt
) -> None:
    sim = SimulatedChannel("below the floor", STATIC_REMOTEKEY)
    stack.begin(sim)
    court.client.rpc("devnet_set_mempool_floor", _HIGH_FLOOR)
    txid = stack.force_close()
    assert txid is not None
    [told] = _broadcasts(court, sim)
    assert told["last_outcome"] == "fee_too_low"
    assert "min fee not met" in told["last_reason"]
    assert told["tx"].startswith("0200000000")
    attempts = told["attempts"]
    stack.mine(2)
    assert _broadcasts(court, sim)[0]["attempts"] >= attempts + 2
    assert not stack.in_mempool(txid)
    court.client.rpc("devnet_set_mempool_floor", None)
    stack.mine()
    assert stack.in_mempool(txid)


def test_l4_a_court_starts_while_its_commitment_is_refused(
    court: RunningCourt, stack: StackCourt
) -> None:
    sim = SimulatedChannel("started while refused", STATIC_REMOTEKEY)
    stack.begin(sim)
    court.client.rpc("devnet_set_mempool_floor", _HIGH_FLOOR)
    txid = stack.force_close()
    court.kill("worker")
    stack.mine()
    assert txid is not None
    assert not stack.in_mempool(txid)
    court.client.rpc("devnet_set_mempool_floor", None)
    stack.mine()
    court.client.wait_until(lambda: stack.in_mempool(txid), "the commitment in the mempool")


def test_l4_a_sweep_below_the_floor_is_built_anew(court: RunningCourt, stack: StackCourt) -> None:
    sim = SimulatedChannel("cheap sweep", ANCHORS_ZERO_FEE_HTLC)
    stack.begin(sim)
    stack.broadcast(sim.their_commitment_tx())
    stack.mine(2)
    refusal = {"code": -26, "message": "mempool min fee not met, 11 < 122"}
    court.client.rpc("devnet_set_fault", "sendrawtransaction", 1, refusal)
    stack.mine()
    stack.mine(10)
    refused, taken = _broadcasts(court, sim)
    assert (refused["state"], taken["state"]) == ("abandoned", "confirmed")
    assert taken["fee_sat"] > refused["fee_sat"]
    assert stack.state == "FULLY_RESOLVED"


def test_l4_a_sweep_follows_a_floor_that_rises(court: RunningCourt, stack: StackCourt) -> None:
    sim = SimulatedChannel("floor rises", ANCHORS_ZERO_FEE_HTLC)
    stack.begin(sim)
    stack.broadcast(sim.their_commitment_tx())
    stack.mine(2)
    refusal = {"code": -26, "message": "mempool min fee not met, 11 < 122"}
    court.client.rpc("devnet_set_fault", "sendrawtransaction", 1, refusal)
    stack.mine()
    court.client.wait_until(
        lambda: any(b["state"] == "open" for b in _broadcasts(court, sim)), "a sweep"
    )
    court.client.rpc("devnet_set_mempool_floor", _HIGH_FLOOR)
    court.client.rpc("devnet_clear_mempool")
    stack.mine(2)
    court.client.wait_until(
        lambda: len(_broadcasts(court, sim)) == 2, "a sweep at the floor of now"
    )
    stack.mine(8)
    assert [b["state"] for b in _broadcasts(court, sim)] == ["abandoned", "confirmed"]
    assert stack.state == "FULLY_RESOLVED"


def test_l2_without_its_input_a_transaction_is_not_sent_over_and_over(
    court: RunningCourt, stack: StackCourt
) -> None:
    sim = SimulatedChannel("funding forgotten", STATIC_REMOTEKEY)
    script = sim.funding_script_pubkey.hex()
    # Its fee wallet is paid first: later that would take the coin that the funding spends.
    court.node(sim.node, sim.sweep_script)
    point = court.client.rpc("devnet_fund", script, sim.capacity_sat)
    funding = court.client.rpc("getrawtransaction", point.partition(":")[0])
    court.client.rpc("devnet_clear_mempool")
    stack.open(sim.funded(OutPoint.parse(point)))
    txid = stack.force_close()
    assert stack.state == "COMMITMENT_BROADCASTED"
    stack.mine(4)
    [told] = _broadcasts(court, sim)
    assert told["last_outcome"] == "missing_inputs"
    assert told["attempts"] <= 2
    court.client.rpc("sendrawtransaction", funding)
    stack.mine()
    assert txid is not None
    court.client.wait_until(
        lambda: _broadcasts(court, sim)[0]["last_outcome"] in ("accepted", "already_known"),
        "the commitment to be taken",
    )


def test_what_a_reorg_left_without_its_commitment_is_given_up_and_taken_up_again(
    court: RunningCourt, stack: StackCourt
) -> None:
    """Our HTLC-timeout was mined; then the peer's commitment wins, and at last ours after all."""
    sim = SimulatedChannel("commitment gone", STATIC_REMOTEKEY)
    stack.begin(sim)
    stack.tell(*sim.whole_move(0, sim.htlc(1, Direction.OFFERED, 40_000_000, stack.height + 3)))
    before = stack.height
    states = []
    for close in (sim.our_commitment_tx(), sim.their_commitment_tx(), sim.our_commitment_tx()):
        stack.reorg(stack.height - before, [close])
        stack.mine(5)
        [timeout] = [b for b in _broadcasts(court, sim) if b["purpose"] == "htlc_transaction"]
        states.append((stack.close_kind, timeout["state"]))
    assert states == [("local", "confirmed"), ("remote", "abandoned"), ("local", "confirmed")]


@pytest.mark.parametrize("drop", ["before", "after"])
def test_l20_a_transaction_is_stored_before_it_is_sent(
    court: RunningCourt, stack: StackCourt, drop: str
) -> None:
    """The node is cut off in the middle of the call: what was sent is known, and sent again."""
    sim = SimulatedChannel(f"cut off {drop}", STATIC_REMOTEKEY)
    stack.begin(sim)
    client = court.client
    client.rpc("devnet_set_fault", "sendrawtransaction", 1, None, 0, drop)
    client.force_close(str(sim.channel.channel_point), "in the middle")
    client.wait_until(lambda: bool(_broadcasts(court, sim)), "the commitment to be stored")
    [told] = _broadcasts(court, sim)
    assert told["txid"] == str(sim.our_commitment_tx().txid())
    client.wait_until(lambda: stack.state == "COMMITMENT_BROADCASTED", "it to be sent again")
    stack.mine(20)
    assert stack.state == "FULLY_RESOLVED"
    assert stack.published_commitments == 1


def test_l20_workers_killed_over_and_over_change_nothing(
    court: RunningCourt, stack: StackCourt
) -> None:
    sim = SimulatedChannel("killed over and over", STATIC_REMOTEKEY)
    stack.begin(sim)
    court.client.force_close(str(sim.channel.channel_point), "in the middle")
    for _ in range(4):
        court.kill("worker")
        court.client.mine(4)
    court.client.wait_quiet(90)
    stack.mine(12)
    assert stack.state == "FULLY_RESOLVED"
    assert stack.published_commitments == 1
    assert [told["kind"] for told in stack.told("channel.closed")] == ["local"]
