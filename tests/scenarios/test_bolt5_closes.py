"""BOLT 5's musts about closes and main outputs, each test named after its rule.

The rules are those of docs/law/bolt5_rules.md; docs/law/bolt5_tests.md has the whole list.
"""

from __future__ import annotations

import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY, Direction
from contractcourt.contract import ContractKind
from contractcourt.effects import BumpCommitment, SweepOutput
from contractcourt.events import ForceCloseRequested, PublishOutcome, TransactionPublished
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.others import taken
from workers.simulation.channel import SimulatedChannel
from workers.simulation.peer import Peer

BOTH_TYPES = pytest.mark.parametrize("channel_type", [STATIC_REMOTEKEY, ANCHORS_ZERO_FEE_HTLC])
LARGE_MSAT = 40_000_000


def begun(
    name: str, channel_type: str, to_remote_msat: int = 400_000_000
) -> tuple[MemoryCourt, SimulatedChannel]:
    court = MemoryCourt()
    sim = SimulatedChannel(name, channel_type, to_remote_msat=to_remote_msat)
    court.begin(sim)
    return court, sim


def hold(court: MemoryCourt, sim: SimulatedChannel, expires_in: int = 40) -> None:
    """One HTLC each way."""
    offered = sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + expires_in)
    received = sim.htlc(2, Direction.RECEIVED, LARGE_MSAT, court.height + expires_in)
    court.tell(*sim.whole_move(0, offered, received))


def sweeps_of(court: MemoryCourt, kind: ContractKind) -> list[SweepOutput]:
    return [
        effect
        for effect in court.effects
        if isinstance(effect, SweepOutput) and effect.contract.kind is kind
    ]


def spends_of(court: MemoryCourt, kind: ContractKind) -> list[Transaction]:
    """Our transactions that spend a contract of this kind."""
    outpoints = {c.outpoint for c in court.case.contracts if c.kind is kind}
    return [tx for tx in court.sent if tx.inputs[0].outpoint in outpoints]


@BOTH_TYPES
def test_w1_every_output_that_is_not_resolved_is_watched(channel_type: str) -> None:
    court, sim = begun("w1", channel_type)
    assert court.is_watched(sim.channel.funding_outpoint)
    hold(court, sim)
    court.broadcast(sim.their_commitment_tx())
    court.mine(4)
    assert len(court.case.contracts) == 3
    assert all(court.is_watched(contract.outpoint) for contract in court.case.contracts)


@BOTH_TYPES
def test_w5_another_close_after_a_reorganisation_is_resolved_anew(channel_type: str) -> None:
    court, sim = begun("w5", channel_type)
    hold(court, sim)
    court.broadcast(sim.their_commitment_tx())
    court.mine(8)
    assert court.close_kind == "remote"
    court.reorg(8, [sim.our_commitment_tx()])
    court.mine(90)
    assert (court.close_kind, court.state) == ("local", "FULLY_RESOLVED")
    assert court.contract_stages["to_local"] == "resolved"


@BOTH_TYPES
def test_w8_a_spend_of_no_known_kind_is_a_warning(channel_type: str) -> None:
    court, sim = begun("w8", channel_type)
    court.broadcast(sim.rogue_tx())
    court.mine()
    assert "unknown_spend" in court.alarms()


@BOTH_TYPES
def test_w8_a_spend_of_no_known_kind_stays_though_its_output_is_spent(channel_type: str) -> None:
    """Only the operator can say what became of the money."""
    court, sim = begun("w8 spent", channel_type)
    rogue = sim.rogue_tx()
    court.broadcast(rogue)
    court.mine(6)
    assert court.case.closed
    court.reorg(0, [taken(OutPoint.of(rogue.txid(), 0))])
    court.mine(20)
    assert court.state == "WAITING_FULL_RESOLUTION"
    assert court.contract_stages == {"unknown_spend": "unresolved"}


@BOTH_TYPES
def test_f2_a_channel_in_which_we_own_nothing_is_not_forgotten(channel_type: str) -> None:
    court, sim = begun("f2", channel_type, to_remote_msat=1_000_000_000 - 5_000_000)
    court.mine(300)
    assert court.state == "DEFAULT"
    assert court.is_watched(sim.channel.funding_outpoint)
    court.broadcast(sim.their_commitment_tx())
    court.mine(20)
    assert court.state == "FULLY_RESOLVED"


@BOTH_TYPES
def test_p3_a_second_request_changes_nothing(channel_type: str) -> None:
    court, _ = begun("asked twice", channel_type)
    court.force_close()
    before = court.case
    court.hear(ForceCloseRequested("2026-01-02T00:00:00Z", "somebody else", "once more"))
    assert court.case == before


@BOTH_TYPES
def test_p3_what_is_asked_of_a_closed_channel_waits_for_a_reorg(channel_type: str) -> None:
    court, sim = begun("asked after the close", channel_type)
    court.broadcast(sim.their_commitment_tx())
    court.mine(4)
    court.force_close()
    assert court.case.force_close is None
    before = court.case
    court.hear(ForceCloseRequested("2026-01-02T00:00:00Z", "somebody else", "once more"))
    assert court.case == before
    court.chain.mempool.clear()
    court.reorg(4)
    assert court.case.force_close is not None
    assert court.case.force_close.requested_by == "operator"


@BOTH_TYPES
def test_what_the_node_says_of_ours_after_another_closed_the_channel_changes_no_state(
    channel_type: str,
) -> None:
    court, sim = begun("answered late", channel_type)
    court.refuse_publishing(True)
    ours = court.force_close()
    assert ours is not None
    court.broadcast(sim.their_commitment_tx())
    court.mine(4)
    state = court.state
    court.hear(TransactionPublished(ours, PublishOutcome.DOUBLE_SPEND))
    assert court.state == state == "WAITING_FULL_RESOLUTION"


@BOTH_TYPES
def test_f4_with_stale_state_our_commitment_is_not_broadcast(channel_type: str) -> None:
    court, sim = begun("f4", channel_type)
    court.broadcast(sim.their_commitment_tx(9))
    court.mine()
    court.force_close()
    court.mine(30)
    assert court.published_commitments == 0


@BOTH_TYPES
def test_f5_the_last_signed_commitment_is_broadcast_and_its_anchor_pays(channel_type: str) -> None:
    court, sim = begun("f5", channel_type)
    hold(court, sim)
    assert court.force_close() == sim.our_commitment_tx().txid()
    bumps = [effect for effect in court.effects if isinstance(effect, BumpCommitment)]
    assert bool(bumps) == sim.channel.anchors
    for bump in bumps:
        assert bump.commitment.txid == sim.our_commitment_tx().txid()
        assert bump.deadline is not None
        assert bump.budget_sat > 0


@BOTH_TYPES
def test_f6_a_revoked_commitment_is_never_broadcast(channel_type: str) -> None:
    court, sim = begun("f6", channel_type)
    revoked = set()
    for _ in range(3):
        revoked.add(sim.our_commitment_tx().txid())
        court.tell(*sim.whole_move(1_000_000))
    assert court.force_close() == sim.our_commitment_tx(3).txid()
    court.mine(3)
    assert not revoked & {tx.txid() for tx in court.sent}


@BOTH_TYPES
@pytest.mark.parametrize("pending", [False, True])
def test_c4_either_of_two_valid_commitments_of_theirs_is_handled(
    channel_type: str, pending: bool
) -> None:
    court, sim = begun(f"c4 {pending}", channel_type)
    current = sim.their_commitment_tx()
    sim.move(20_000_000)
    court.tell(sim.propose())
    court.broadcast(sim.their_commitment_tx() if pending else current)
    court.mine(20)
    assert court.close_kind == ("remote_pending" if pending else "remote")
    assert court.state == "FULLY_RESOLVED"


@BOTH_TYPES
def test_c4_their_pending_commitment_is_their_own_once_the_one_before_is_revoked(
    channel_type: str,
) -> None:
    """While its spend is not buried: the close is told, and acted on, as what it is by then."""
    court, sim = begun("c4 revoked meanwhile", channel_type)
    sim.move(20_000_000)
    court.tell(sim.propose())
    court.reorg(0, [sim.their_commitment_tx()])
    court.tell(sim.accept(), sim.revoke())
    court.mine(20)
    assert [(told["stage"], told["kind"]) for told in court.told("channel.closing")] == [
        ("seen", "remote_pending"),
        ("seen", "remote"),
        ("final", "remote"),
    ]
    assert court.state == "FULLY_RESOLVED"


@BOTH_TYPES
@pytest.mark.parametrize("blocks", [8, 20])
def test_c4_what_the_node_revokes_late_takes_no_close_back(channel_type: str, blocks: int) -> None:
    """The node was told of a reorg that never was, and of one close twice."""
    court, sim = begun(f"c4 late {blocks}", channel_type)
    sim.move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 60))
    court.tell(sim.propose())
    court.broadcast(sim.their_commitment_tx())
    court.mine(blocks)
    assert court.close_kind == "remote_pending"
    told, contracts = court.told("channel.closing"), court.case.contracts
    court.tell(sim.accept(), sim.revoke())
    assert court.case.contracts == contracts
    assert court.told("channel.closing") == told
    assert len(court.told("channel.closed")) == 1
    court.mine(80)
    assert court.state == "FULLY_RESOLVED"


@BOTH_TYPES
def test_c6_r11_data_loss_is_told_and_only_our_main_output_taken(channel_type: str) -> None:
    court, sim = begun("r11", channel_type)
    hold(court, sim)
    court.broadcast(sim.their_commitment_tx(9))
    court.mine(20)
    assert "data_loss" in court.alarms()
    assert set(court.contract_stages) == {"to_remote"}
    assert len(spends_of(court, ContractKind.TO_REMOTE)) == 1


@BOTH_TYPES
def test_l1_our_delayed_output_waits(channel_type: str) -> None:
    court, sim = begun("l1", channel_type)
    court.force_close()
    court.mine(1)
    confirmed = court.height
    while not sweeps_of(court, ContractKind.TO_LOCAL):
        assert court.height < confirmed + 50
        court.mine()
    delay = sim.channel.remote.to_self_delay
    assert court.height + 1 >= confirmed + delay
    [tx] = spends_of(court, ContractKind.TO_LOCAL)
    assert tx.inputs[0].sequence == delay


def test_l3_our_anchor_pays_only_while_the_commitment_is_unconfirmed() -> None:
    court, _ = begun("l3", ANCHORS_ZERO_FEE_HTLC)
    court.force_close()

    def bumps() -> int:
        return sum(isinstance(effect, BumpCommitment) for effect in court.effects)

    court.mine(1)
    wanted = bumps()
    assert wanted
    court.mine(10)
    assert bumps() == wanted


@BOTH_TYPES
def test_p1_the_cheaters_main_output_is_taken_at_once_with_the_end_of_its_delay_in_view(
    channel_type: str,
) -> None:
    court, sim = begun("p1", channel_type)
    court.tell(*sim.whole_move(100_000_000))
    court.broadcast(sim.their_commitment_tx(0))
    court.mine()
    [justice] = sweeps_of(court, ContractKind.REVOKED_TO_LOCAL)
    assert justice.per_commitment_secret is not None
    # The cheater's spend may be mined in the block after it.
    assert justice.deadline == court.height + sim.channel.local.to_self_delay - 1


@BOTH_TYPES
def test_p3_p4_every_htlc_of_a_revoked_commitment_is_taken_by_its_key(channel_type: str) -> None:
    court, sim = begun("p3", channel_type)
    hold(court, sim)
    court.tell(*sim.whole_move(1_000_000))
    court.broadcast(sim.their_commitment_tx(1))
    court.mine()
    taken = sweeps_of(court, ContractKind.REVOKED_HTLC)
    assert {s.contract.htlc.direction for s in taken if s.contract.htlc} == set(Direction)
    assert all(sweep.per_commitment_secret is not None for sweep in taken)
    court.mine(10)
    assert court.state == "FULLY_RESOLVED"


@BOTH_TYPES
def test_p5_p8_what_the_cheater_moves_on_is_followed_and_taken_there(channel_type: str) -> None:
    court, sim = begun("p5", channel_type)
    hold(court, sim)
    court.tell(*sim.whole_move(1_000_000))
    court.reorg(0, [sim.their_commitment_tx(1)])
    success = Peer(sim).second_level(1, 1, sim.preimage(1))
    court.reorg(0, [success])
    [justice] = sweeps_of(court, ContractKind.REVOKED_SECOND_LEVEL)
    assert justice.contract.outpoint.txid == success.txid()
    # A fresh window: counted from the block of the second level.
    assert justice.deadline == court.height + sim.channel.local.to_self_delay - 1
    court.mine(10)
    assert court.state == "FULLY_RESOLVED"
    assert court.contract_stages["revoked_second_level"] == "resolved"
