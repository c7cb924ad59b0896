"""What the node is told: before a loss, of every end, and each fact once (users_ask L24)."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, Direction
from contractcourt.contract import ContractKind
from contractcourt.events import HeightReached, PolicyChanged, PublishOutcome, SpendSeen
from contractcourt.policy import Policy
from contractcourt.units import BlockHeight, Blocks, HexBytes
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.test_bolt5_closes import BOTH_TYPES, LARGE_MSAT, begun
from tests.scenarios.test_breach_scenarios import THEFTS, cheated, steal
from workers.simulation.channel import SimulatedChannel
from workers.simulation.peer import Peer

AT_RISK = "deadline.at_risk"
BEFORE = Policy().at_risk_blocks
SAT = LARGE_MSAT // 1000


def mine_until(court: MemoryCourt, height: int) -> None:
    court.mine(height - court.height)


def types(court: MemoryCourt) -> list[str]:
    return [notice.event_type for notice in court.notices()]


def each_once(court: MemoryCourt) -> None:
    """Nothing was told twice in the same words."""
    told = Counter(
        (notice.event_type, repr(sorted(notice.data.items()))) for notice in court.notices()
    )
    assert not {fact: count for fact, count in told.items() if count > 1}


@BOTH_TYPES
def test_l24_an_offered_htlc_is_told_before_it_takes_the_channel_on_chain(
    channel_type: str,
) -> None:
    court, sim = begun("offered at risk", channel_type)
    expiry = court.height + 40
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, expiry)))
    mine_until(court, expiry - BEFORE - 1)
    assert court.told(AT_RISK) == []
    court.mine()
    [told] = court.told(AT_RISK)
    assert told["what"] == "offered_htlc"
    assert told["value_at_risk_sat"] == SAT
    assert (told["height"], told["acts_at"]) == (expiry - BEFORE, expiry)
    assert told["lost_at"] == expiry + Policy().outgoing_deadline_delta
    assert told["blocks_left"] == BEFORE + Policy().outgoing_deadline_delta
    assert (told["htlc_id"], told["payment_hash"]) == (
        1,
        str(sim.htlc(1, Direction.OFFERED, 1, 1).payment_hash),
    )
    assert court.state == "DEFAULT"
    mine_until(court, expiry - 1)
    assert (court.state, len(court.told(AT_RISK))) == ("DEFAULT", 1)
    court.mine()
    assert court.state == "COMMITMENT_BROADCASTED"
    assert types(court).index(AT_RISK) < types(court).index("channel.closing")


@BOTH_TYPES
def test_l24_a_received_htlc_is_at_risk_only_when_we_could_claim_it(channel_type: str) -> None:
    court, sim = begun("received at risk", channel_type)
    expiry = court.height + 40
    acts_at = expiry - Policy().incoming_broadcast_delta
    mine, unknown = (sim.htlc(n, Direction.RECEIVED, LARGE_MSAT, expiry) for n in (1, 2))
    court.tell(*sim.whole_move(0, mine, unknown))
    court.tell_preimage(sim.preimage(1))
    mine_until(court, acts_at - BEFORE)
    [told] = court.told(AT_RISK)
    assert (told["what"], told["htlc_id"]) == ("received_htlc", 1)
    assert (told["acts_at"], told["lost_at"]) == (acts_at, expiry)


def test_l24_a_preimage_that_comes_late_is_told_at_once() -> None:
    court, sim = begun("late preimage", ANCHORS_ZERO_FEE_HTLC)
    expiry = court.height + 40
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.RECEIVED, LARGE_MSAT, expiry)))
    mine_until(court, expiry - Policy().incoming_broadcast_delta - 2)
    court.hear(HeightReached(BlockHeight(court.height)))
    assert court.told(AT_RISK) == []
    court.tell_preimage(sim.preimage(1))
    assert len(court.told(AT_RISK)) == 1


@BOTH_TYPES
def test_l24_what_the_two_sides_settle_in_time_is_never_told(channel_type: str) -> None:
    court, sim = begun("settled", channel_type)
    expiry = court.height + 40
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, expiry)))
    court.mine(10)
    court.tell(*sim.whole_move(0))
    mine_until(court, expiry + 10)
    assert (court.told(AT_RISK), court.case.warned) == ([], ())


def test_l24_dust_is_at_no_risk() -> None:
    court, sim = begun("dust", ANCHORS_ZERO_FEE_HTLC)
    expiry = court.height + 40
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.OFFERED, 100_000, expiry)))
    mine_until(court, expiry + 5)
    assert court.told(AT_RISK) == []


def test_l24_the_operator_chooses_how_long_before() -> None:
    court, sim = begun("chosen", ANCHORS_ZERO_FEE_HTLC)
    expiry = court.height + 60
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, expiry)))
    court.hear(PolicyChanged(Policy(at_risk_blocks=Blocks(20))))
    mine_until(court, expiry - 20)
    assert [told["height"] for told in court.told(AT_RISK)] == [expiry - 20]


def test_l24_a_settled_htlcs_warning_is_forgotten() -> None:
    court, sim = begun("forgotten", ANCHORS_ZERO_FEE_HTLC)
    expiry = court.height + 10
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, expiry)))
    mine_until(court, expiry - 2)
    warned = court.case.warned
    assert len(warned) == 1
    court.tell(*sim.whole_move(0))
    assert court.case.warned == ()


@BOTH_TYPES
def test_l24_our_commitment_that_is_not_mined_is_told_before_it_is_late(channel_type: str) -> None:
    court, sim = begun("unmined", channel_type)
    expiry = court.height + 40
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, expiry)))
    court.refuse_publishing(True)
    late = expiry + Policy().outgoing_deadline_delta // 2
    mine_until(court, late)
    first, second = court.told(AT_RISK)
    assert (first["what"], second["what"]) == ("offered_htlc", "unconfirmed_commitment")
    assert (second["height"], second["lost_at"]) == (late - BEFORE, late)
    assert second["value_at_risk_sat"] == SAT


@BOTH_TYPES
def test_l24_a_contract_that_nobody_resolves_is_told_before_it_is_lost(channel_type: str) -> None:
    """Our sweeps are not taken: the revoked outputs come near the end of the thief's delay."""
    court, sim = cheated("unswept", channel_type)
    del sim
    # The delay here is so short that it would be told of in the block after the breach.
    court.hear(PolicyChanged(Policy(at_risk_blocks=Blocks(BEFORE - 1))))
    other, cheat = begun("unswept too", channel_type)
    other.tell(*cheat.whole_move(LARGE_MSAT))
    other.tell(*cheat.whole_move(0))
    other.publish_answer = PublishOutcome.FEE_TOO_LOW
    other.reorg(0, [cheat.their_commitment_tx(1)])
    mined_at = other.height
    lost_at = mined_at + cheat.channel.local.to_self_delay - 1
    mine_until(other, lost_at - BEFORE - 1)
    assert other.told(AT_RISK) == []
    mine_until(other, lost_at)
    [told] = other.told(AT_RISK)
    assert told["what"] == ContractKind.REVOKED_TO_LOCAL.value
    assert (told["height"], told["lost_at"]) == (lost_at - BEFORE, lost_at)
    # Where the sweeps are mined nothing is ever at risk.
    court.mine(200)
    assert court.told(AT_RISK) == []


@pytest.mark.parametrize("restarts", [False, True])
def test_l24_a_risk_is_told_once_whatever_is_restarted_or_reorganised(restarts: bool) -> None:
    court = MemoryCourt(restarts=restarts)
    sim = SimulatedChannel("once", ANCHORS_ZERO_FEE_HTLC)
    court.begin(sim)
    expiry = court.height + 40
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, expiry)))
    mine_until(court, expiry - BEFORE + 1)
    for _ in range(3):
        court.reorg(5)
        court.hear(HeightReached(court.case.best_height))
    assert len(court.told(AT_RISK)) == 1
    mine_until(court, expiry + 60)
    assert court.state == "FULLY_RESOLVED"
    each_once(court)


@BOTH_TYPES
def test_l24_every_stage_of_a_close_in_order(channel_type: str) -> None:
    court, sim = begun("stages", channel_type)
    expiry = court.height + 30
    offered = sim.htlc(1, Direction.OFFERED, LARGE_MSAT, expiry)
    received = sim.htlc(2, Direction.RECEIVED, LARGE_MSAT, expiry + 300)
    court.tell(*sim.whole_move(0, offered, received))
    court.tell_preimage(sim.preimage(2))
    court.force_close()
    court.mine(300)
    assert court.state == "FULLY_RESOLVED"
    stages = [told["stage"] for told in court.told("channel.closing")]
    assert stages == ["requested", "seen", "final"]
    order = types(court)
    assert order[:4] == ["channel.closing"] * 3 + ["channel.closed"]
    assert order[-1] == "channel.fully_resolved"
    resolved = court.told("contract.resolved")
    assert sorted(str(told["outpoint"]) for told in resolved) == sorted(
        str(contract.outpoint) for contract in court.case.contracts
    )
    by_kind = {told["contract"]: told for told in resolved}
    assert by_kind["to_local"]["ours"] is True
    assert by_kind["offered_htlc"]["htlc_id"] == 1
    assert [told["htlc_id"] for told in court.told("htlc.failed")] == [1]
    each_once(court)


def test_l24_a_sweep_that_a_reorg_takes_back_is_told() -> None:
    court, sim = begun("reopened", ANCHORS_ZERO_FEE_HTLC)
    court.broadcast(sim.their_commitment_tx())
    court.mine(20)
    assert court.state == "FULLY_RESOLVED"
    [contract] = court.case.contracts
    assert contract.spend is not None
    court.chain.mempool.clear()
    court.reorg(court.height - contract.spend.height + 1)
    [reopened] = court.told("contract.reopened")
    assert reopened["outpoint"] == str(contract.outpoint)
    court.mine(20)
    assert court.state == "FULLY_RESOLVED"
    assert len(court.told("contract.resolved")) == len(court.told("channel.fully_resolved")) == 2


@BOTH_TYPES
@pytest.mark.parametrize("thefts", THEFTS, ids="-".join)
def test_l24_a_breach_is_told_with_what_is_at_stake_and_what_came_of_it(
    channel_type: str, thefts: tuple[str, ...]
) -> None:
    court, sim = cheated(f"told {'-'.join(thefts)}", channel_type)
    mined_at = court.height
    [seen] = court.told("breach.seen")
    at_stake = [c for c in court.case.contracts if c.kind.value.startswith("revoked")]
    assert seen["outputs"] == len(at_stake)
    assert seen["value_at_risk_sat"] == sum(c.value_sat for c in at_stake)
    assert seen["commitment_number"] == 1
    assert seen["lost_at"] == mined_at + sim.channel.local.to_self_delay - 1
    for move in thefts:
        steal(court, sim, move)
    court.mine(300)
    assert court.state == "FULLY_RESOLVED"
    [settled] = court.told("breach.settled")
    won, lost = settled["won_sat"], settled["lost_sat"]
    assert isinstance(won, int)
    assert isinstance(lost, int)
    assert won + lost == seen["value_at_risk_sat"]
    stolen = sum(c.value_sat for c in at_stake if c.kind is ContractKind.REVOKED_TO_LOCAL)
    if "main" in thefts:
        assert lost >= stolen
    elif not thefts:
        assert lost == 0
    each_once(court)


def test_l24_a_close_that_is_no_breach_is_not_told_as_one() -> None:
    court, sim = begun("no breach", ANCHORS_ZERO_FEE_HTLC)
    court.broadcast(sim.their_commitment_tx())
    court.mine(20)
    assert court.state == "FULLY_RESOLVED"
    assert court.told("breach.seen") == court.told("breach.settled") == []


def test_l24_a_preimage_is_told_once_though_mempool_and_block_show_it() -> None:
    court, sim = begun("shown twice", ANCHORS_ZERO_FEE_HTLC)
    expiry = court.height + 100
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, expiry)))
    court.reorg(0, [sim.our_commitment_tx()])
    court.mine(4)
    [contract] = [c for c in court.case.contracts if c.kind is ContractKind.OFFERED_HTLC]
    claim = Peer(sim).claim(1, 1, sim.preimage(1))
    for _ in range(3):
        court.hear(SpendSeen(contract.outpoint, claim.txid(), HexBytes(claim.serialize())))
    court.reorg(0, [claim])
    court.mine(20)
    [told] = court.told("htlc.fulfilled")
    assert told["preimage"] == str(sim.preimage(1))


def test_l24_every_type_that_the_law_can_tell_is_in_the_reference() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "reference" / "webhook-events.md").read_text()
    told = set()
    for source in (root / "contractcourt").rglob("*.py"):
        told |= set(
            re.findall(r'"((?:channel|htlc|contract|breach|deadline)\.\w+)"', source.read_text())
        )
    assert {AT_RISK, "channel.closing", "breach.settled", "contract.reopened"} <= told
    for event_type in told:
        assert f"\n### {event_type}\n" in page, event_type
