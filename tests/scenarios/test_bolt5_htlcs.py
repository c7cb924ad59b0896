"""BOLT 5's musts about HTLCs and what is told upstream, each test named after its rule."""

from __future__ import annotations

import pytest

from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, Direction
from contractcourt.contract import ContractKind
from contractcourt.effects import HTLC_DUE, WakeAt
from contractcourt.events import SpendSeen
from contractcourt.units import Blocks, HexBytes
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.others import taken
from tests.scenarios.test_bolt5_closes import BOTH_TYPES, LARGE_MSAT, begun, spends_of, sweeps_of
from workers.simulation.channel import SimulatedChannel
from workers.simulation.peer import Peer


def with_htlc(
    name: str,
    channel_type: str,
    direction: Direction,
    *,
    amount_msat: int = LARGE_MSAT,
    known: bool = False,
    expires_in: int = 40,
) -> tuple[MemoryCourt, SimulatedChannel, int]:
    """A channel that holds one HTLC; its expiry."""
    court, sim = begun(name, channel_type)
    expiry = court.height + expires_in
    court.tell(*sim.whole_move(0, sim.htlc(1, direction, amount_msat, expiry)))
    if known:
        court.tell_preimage(sim.preimage(1))
    return court, sim, expiry


def failed(court: MemoryCourt) -> list[object]:
    return [told["htlc_id"] for told in court.told("htlc.failed")]


@BOTH_TYPES
def test_l6_an_offered_htlc_is_taken_back_from_its_expiry_on(channel_type: str) -> None:
    court, _, expiry = with_htlc("l6", channel_type, Direction.OFFERED)
    court.force_close()
    while court.height < expiry - 1:
        court.mine()
    assert spends_of(court, ContractKind.OFFERED_HTLC) == []
    court.mine(2)
    [timeout] = spends_of(court, ContractKind.OFFERED_HTLC)
    assert timeout.locktime == expiry


@BOTH_TYPES
def test_l7_u1_a_preimage_shown_on_our_commitment_is_told_at_no_depth(channel_type: str) -> None:
    court, sim, _ = with_htlc("l7", channel_type, Direction.OFFERED)
    court.force_close()
    court.mine(4)
    court.reorg(0, [Peer(sim).claim(1, 1, sim.preimage(1))])
    [told] = court.told("htlc.fulfilled")
    assert told["preimage"] == str(sim.preimage(1))


@BOTH_TYPES
@pytest.mark.parametrize("direction", list(Direction))
def test_l8_l13_the_second_level_waits_for_its_own_delay(
    channel_type: str, direction: Direction
) -> None:
    court, sim, _ = with_htlc(f"l8 {direction}", channel_type, direction, known=True)
    court.force_close()
    for _ in range(60):
        court.mine()
        if any(c.kind is ContractKind.SECOND_LEVEL for c in court.case.contracts):
            break
    moved_at = court.height
    assert sweeps_of(court, ContractKind.SECOND_LEVEL) == []
    while not sweeps_of(court, ContractKind.SECOND_LEVEL):
        assert court.height < moved_at + 50
        court.mine()
    delay = sim.channel.remote.to_self_delay
    assert court.height + 1 >= moved_at + delay
    [tx] = spends_of(court, ContractKind.SECOND_LEVEL)
    assert tx.inputs[0].sequence == delay
    court.mine(20)
    assert court.state == "FULLY_RESOLVED"


@BOTH_TYPES
def test_l9_u9_a_received_htlc_is_claimed_before_its_expiry(channel_type: str) -> None:
    court, _, expiry = with_htlc("l9", channel_type, Direction.RECEIVED, known=True)
    while court.published_commitments == 0:
        assert court.height < expiry
        court.mine()
    assert court.height == expiry - court.case.policy.incoming_broadcast_delta
    while not spends_of(court, ContractKind.RECEIVED_HTLC):
        assert court.height < expiry
        court.mine()
    court.mine(40)
    assert court.state == "FULLY_RESOLVED"


@BOTH_TYPES
@pytest.mark.parametrize("ours", [False, True])
def test_l10_l11_r8_without_a_told_preimage_no_received_htlc_is_spent(
    channel_type: str, ours: bool
) -> None:
    """Which HTLCs may be claimed is the node's to say: it tells the preimage or it does not."""
    court, sim, _ = with_htlc(f"l11 {ours}", channel_type, Direction.RECEIVED)
    if ours:
        court.force_close()
    else:
        court.broadcast(sim.their_commitment_tx())
    court.mine(80)
    assert spends_of(court, ContractKind.RECEIVED_HTLC) == []
    assert court.state == "FULLY_RESOLVED"


@BOTH_TYPES
def test_r5_on_their_commitment_it_is_taken_back_directly(channel_type: str) -> None:
    court, sim, expiry = with_htlc("r5", channel_type, Direction.OFFERED)
    court.broadcast(sim.their_commitment_tx())
    court.mine(60)
    [tx] = spends_of(court, ContractKind.OFFERED_HTLC)
    assert tx.locktime == expiry
    assert tx.inputs[0].sequence == (1 if sim.channel.anchors else 0xFFFFFFFD)
    assert court.state == "FULLY_RESOLVED"


@BOTH_TYPES
def test_r6_a_preimage_shown_on_their_commitment_is_told_at_no_depth(channel_type: str) -> None:
    court, sim, _ = with_htlc("r6", channel_type, Direction.OFFERED)
    court.broadcast(sim.their_commitment_tx())
    court.mine(4)
    court.reorg(0, [Peer(sim).second_level(1, 1, sim.preimage(1))])
    assert len(court.told("htlc.fulfilled")) == 1


@BOTH_TYPES
def test_r7_on_their_commitment_it_is_claimed_at_once(channel_type: str) -> None:
    court, sim, expiry = with_htlc("r7", channel_type, Direction.RECEIVED, known=True)
    court.broadcast(sim.their_commitment_tx())
    court.mine(5)
    [tx] = spends_of(court, ContractKind.RECEIVED_HTLC)
    assert tx.locktime == 0
    [want] = sweeps_of(court, ContractKind.RECEIVED_HTLC)
    assert want.preimage == sim.preimage(1)
    assert want.deadline == expiry


@BOTH_TYPES
def test_r7_the_preimage_that_our_own_claim_shows_is_told_to_nobody(channel_type: str) -> None:
    """An HTLC that we offered may have the same number, and is open."""
    court, sim, _ = with_htlc("r7 shown", channel_type, Direction.RECEIVED, known=True)
    court.broadcast(sim.their_commitment_tx())
    court.mine(4)
    court.chain.mempool.clear()
    court.reorg(0, [Peer(sim.as_peer()).claim(1, 1, sim.preimage(1))])
    assert court.contract_stages["received_htlc"] == "spent"
    assert court.told("htlc.fulfilled") == []


@BOTH_TYPES
def test_l12_a_preimage_that_comes_after_the_end_is_claimed_by_all_the_same(
    channel_type: str,
) -> None:
    """The HTLC had expired, and was given up for the peer's; nobody took it yet."""
    court, sim, expiry = with_htlc("l12 late", channel_type, Direction.RECEIVED)
    court.broadcast(sim.their_commitment_tx())
    court.mine(60)
    assert court.height > expiry
    assert court.state == "FULLY_RESOLVED"
    court.tell_preimage(sim.preimage(1))
    assert court.contract_stages["received_htlc"] == "sweeping"
    assert court.state == "WAITING_FULL_RESOLUTION"
    assert [told["contract"] for told in court.told("contract.reopened")] == ["received_htlc"]
    [want] = sweeps_of(court, ContractKind.RECEIVED_HTLC)
    assert want.preimage == sim.preimage(1)
    court.mine(10)
    assert court.state == "FULLY_RESOLVED"
    [claimed] = [c for c in court.case.contracts if c.kind is ContractKind.RECEIVED_HTLC]
    assert claimed.ours


@BOTH_TYPES
def test_u1_a_preimage_in_the_mempool_is_told_too(channel_type: str) -> None:
    court, sim, _ = with_htlc("u1", channel_type, Direction.OFFERED)
    court.force_close()
    court.mine(4)
    claim = Peer(sim).claim(1, 1, sim.preimage(1))
    outpoint = claim.inputs[0].outpoint
    court.hear(SpendSeen(outpoint, claim.txid(), HexBytes(claim.serialize())))
    assert len(court.told("htlc.fulfilled")) == 1
    court.mine(90)
    assert failed(court) == []


@BOTH_TYPES
def test_u2_an_htlc_is_failed_back_when_its_timeout_is_buried(channel_type: str) -> None:
    court, sim, _ = with_htlc("u2", channel_type, Direction.OFFERED)
    court.broadcast(sim.their_commitment_tx())
    while court.contract_stages.get("offered_htlc") != "spent":
        assert court.height < 300
        court.mine()
    spent_at = court.height
    while not failed(court):
        assert court.height < spent_at + 50
        court.mine()
    assert court.height - spent_at + 1 == court.case.policy.final_depth


@BOTH_TYPES
def test_u3_an_htlc_without_an_output_is_failed_when_the_close_is_final(channel_type: str) -> None:
    court, sim, _ = with_htlc("u3", channel_type, Direction.OFFERED, amount_msat=300_000)
    court.broadcast(sim.their_commitment_tx())
    court.mine()
    assert failed(court) == []
    while not failed(court):
        assert court.height < 300
        court.mine()
    assert court.case.closed


@BOTH_TYPES
def test_u3_an_htlc_that_is_told_after_the_close_is_failed_too(channel_type: str) -> None:
    """The node's message of its newest offer was late: it is on no output of what was mined."""
    court, sim = begun("u3, told late", channel_type)
    theirs = sim.their_commitment_tx()
    proposed, *_ = sim.whole_move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 40))
    court.broadcast(theirs)
    court.mine(20)
    assert court.state == "FULLY_RESOLVED"
    court.tell(proposed)
    [told] = court.told("htlc.failed")
    assert told["reason"] == "not_on_confirmed_commitment"
    court.tell(proposed)
    assert court.told("htlc.failed") == [told]


@BOTH_TYPES
def test_u5_nothing_undecided_is_failed_back(channel_type: str) -> None:
    """The peer's claim and ours are both possible: until one is buried nothing is said."""
    court, sim, expiry = with_htlc("u5", channel_type, Direction.OFFERED)
    court.broadcast(sim.their_commitment_tx())
    while court.height < expiry + 1:
        court.mine()
        assert failed(court) == []
    success = Peer(sim).second_level(1, 1, sim.preimage(1))
    court.chain.mempool.clear()
    court.reorg(0, [success])
    court.mine(40)
    assert failed(court) == []
    assert len(court.told("htlc.fulfilled")) == 1


@BOTH_TYPES
def test_u9_an_offered_htlc_past_its_deadline_closes_the_channel(channel_type: str) -> None:
    court, _, expiry = with_htlc("u9", channel_type, Direction.OFFERED)
    while court.published_commitments == 0:
        assert court.height <= expiry
        court.mine()
    assert court.height == expiry - court.case.policy.outgoing_broadcast_delta


def test_h3_our_second_level_transactions_may_be_given_a_fee() -> None:
    """The peer signs one input and one output, so others can be added; see the drafts' tests."""
    court, sim, _ = with_htlc("h3", ANCHORS_ZERO_FEE_HTLC, Direction.OFFERED)
    court.force_close()
    court.mine(60)
    [tx] = spends_of(court, ContractKind.OFFERED_HTLC)
    assert len(tx.inputs) == 2
    assert tx.outputs[0].value == LARGE_MSAT // 1000
    assert sim.channel.anchors


@BOTH_TYPES
def test_what_is_seen_of_no_contract_says_nothing(channel_type: str) -> None:
    """The mempool is looked at for all that was ever watched."""
    court, sim, _ = with_htlc("seen of none", channel_type, Direction.OFFERED)
    stranger = taken(sim.funding_outpoint)
    before = court.case
    court.hear(SpendSeen(sim.funding_outpoint, stranger.txid(), HexBytes(stranger.serialize())))
    assert court.case == before


@BOTH_TYPES
@pytest.mark.parametrize("forced", [False, True])
def test_u3_u4_an_offered_htlc_is_not_there_though_a_received_one_has_its_number(
    channel_type: str, forced: bool
) -> None:
    """Each side counts its own."""
    court, sim = begun(f"same number {forced}", channel_type)
    expiry = court.height + 40
    dust = sim.htlc(1, Direction.OFFERED, 300_000, expiry)
    court.tell(*sim.whole_move(0, dust, sim.htlc(1, Direction.RECEIVED, LARGE_MSAT, expiry)))
    if forced:
        court.force_close()
    else:
        court.broadcast(sim.their_commitment_tx())
        court.mine(8)
    assert failed(court) == [1]


@BOTH_TYPES
@pytest.mark.parametrize("direction", list(Direction))
def test_l13_a_peer_that_may_settle_is_waited_for_a_quarter_of_the_time(
    channel_type: str, direction: Direction
) -> None:
    court, _, expiry = with_htlc(f"l13 {direction}", channel_type, direction, known=True)
    policy = court.case.policy
    delta, time_left = policy.incoming_broadcast_delta, policy.incoming_broadcast_delta
    if direction is Direction.OFFERED:
        delta = policy.outgoing_broadcast_delta
        time_left = Blocks(delta + policy.outgoing_deadline_delta)
    [clock] = {e for e in court.effects if isinstance(e, WakeAt) and e.reason == HTLC_DUE}
    assert clock.height == expiry - delta
    assert clock.hard_height == expiry - delta + time_left // 4
    assert clock.value_at_risk_sat == LARGE_MSAT // 1000
    assert clock.urgent


@BOTH_TYPES
def test_c7_the_expiry_of_an_offered_htlc_that_is_closed_by_is_urgent(channel_type: str) -> None:
    court, sim, expiry = with_htlc("c7", channel_type, Direction.OFFERED)
    court.broadcast(sim.their_commitment_tx())
    court.mine(8)
    clocks = [e for e in court.effects if isinstance(e, WakeAt) and e.height == expiry]
    assert {clock.reason: clock.urgent for clock in clocks} == {
        HTLC_DUE: True,
        "an offered HTLC times out": True,
    }
