"""Deep reorgs before a running court, also after everything was final (users_ask L21)."""

from __future__ import annotations

import pytest

from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY
from tests.scenarios.stack import StackCourt
from tests.scenarios.test_reorgs_at_every_state import check_order
from workers.simulation.channel import SimulatedChannel
from workers.simulation.court import RunningCourt

_LONG = 30


@pytest.mark.parametrize(
    ("channel_type", "burial"), [(STATIC_REMOTEKEY, 2), (ANCHORS_ZERO_FEE_HTLC, 100)]
)
def test_l21_another_close_wins_by_a_reorg_of_that_depth(
    channel_type: str, burial: int, court: RunningCourt
) -> None:
    """Two blocks deep it was seen, a hundred deep it was final; then the peer's close wins."""
    sim = SimulatedChannel(f"reorg of {burial} on the stack", channel_type)
    stack = StackCourt(court)
    stack.begin(sim)
    stack.tell(*sim.whole_move(50_000_000))
    stack.reorg(0, [sim.cooperative_tx()])
    if burial > 3:
        court.client.mine(burial - 1)
        court.client.wait_quiet(120)
        assert (stack.state, stack.close_kind) == ("FULLY_RESOLVED", "cooperative")
    else:
        stack.mine(burial - 1)
        assert (stack.state, stack.closed_in_database) == ("DEFAULT", False)
    raw = sim.their_commitment_tx().serialize().hex()
    court.client.rpc("devnet_reorg", burial, burial + 1, False, [raw])
    court.client.wait_quiet(120)
    for _ in range(_LONG):
        if stack.state == "FULLY_RESOLVED":
            break
        stack.mine()
    assert (stack.state, stack.close_kind) == ("FULLY_RESOLVED", "remote")
    assert stack.contract_stages["to_remote"] == "resolved"
    seen = [(str(told["stage"]), told["txid"]) for told in stack.told("channel.closing")]
    before = ["seen", "final"] if burial > 3 else ["seen"]
    assert [stage for stage, _ in seen] == [*before, "unseen", "seen", "final"]
    check_order(seen)
    closed = [told["kind"] for told in stack.told("channel.closed")]
    assert closed == (["cooperative", "remote"] if burial > 3 else ["remote"])
