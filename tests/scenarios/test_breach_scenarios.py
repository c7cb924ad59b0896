"""Revoked commitments on chain: whatever the cheater does next, each output has its winner."""

from __future__ import annotations

from itertools import permutations

import pytest

from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, Direction
from contractcourt.contract import Contract, ContractKind, ContractStage
from contractcourt.events import SweepGivenUp
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.others import aggregated, taken
from tests.scenarios.test_bolt5_closes import BOTH_TYPES, LARGE_MSAT, begun
from workers.simulation.channel import SimulatedChannel
from workers.simulation.peer import Peer

_MOVES = ("main", "offered", "received")
#: Every choice of what the cheater takes before us, in every order; first of all nothing.
THEFTS = [order for count in range(4) for order in permutations(_MOVES, count)]
#: The commitment that the cheater publishes.
_REVOKED = 1


def cheated(
    name: str, channel_type: str, *, restarts: bool = False
) -> tuple[MemoryCourt, SimulatedChannel]:
    """Commitment 1, revoked and mined, holds an HTLC each way that the channel still holds."""
    court = MemoryCourt(restarts=restarts)
    sim = SimulatedChannel(name, channel_type)
    court.begin(sim)
    expiry = court.height + 200
    offered = sim.htlc(1, Direction.OFFERED, LARGE_MSAT, expiry)
    received = sim.htlc(2, Direction.RECEIVED, LARGE_MSAT, expiry)
    court.tell(*sim.whole_move(0, offered, received))
    court.tell(*sim.whole_move(1_000_000, offered, received))
    court.reorg(0, [sim.their_commitment_tx(_REVOKED)])
    return court, sim


def only(court: MemoryCourt, kind: ContractKind, direction: Direction | None = None) -> Contract:
    """The one contract of this kind, and of this HTLC direction where there are two."""
    [found] = [
        c
        for c in court.case.contracts
        if c.kind is kind and (direction is None or (c.htlc and c.htlc.direction is direction))
    ]
    return found


def steal(court: MemoryCourt, sim: SimulatedChannel, move: str) -> None:
    """The cheater's own spend of one output is mined before ours."""
    match move:
        case "main":
            tx = taken(only(court, ContractKind.REVOKED_TO_LOCAL).outpoint)
        case "offered":
            tx = Peer(sim).second_level(_REVOKED, 1, sim.preimage(1))
        case _:
            tx = Peer(sim).second_level(_REVOKED, 2)
    court.reorg(0, [tx])


@BOTH_TYPES
@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("order", THEFTS, ids=lambda order: "-".join(order) or "nothing")
def test_breach_spends(channel_type: str, order: tuple[str, ...], restarts: bool) -> None:
    court, sim = cheated(f"thefts {order}", channel_type, restarts=restarts)
    for move in order:
        steal(court, sim, move)
    court.mine(12)
    assert (court.close_kind, court.state) == ("breach", "FULLY_RESOLVED")
    assert only(court, ContractKind.TO_REMOTE).ours is True
    assert only(court, ContractKind.REVOKED_TO_LOCAL).ours is ("main" not in order)
    for direction in Direction:
        moved = direction.value in order
        assert only(court, ContractKind.REVOKED_HTLC, direction).ours is not moved
        punished = [
            c
            for c in court.case.contracts
            if c.kind is ContractKind.REVOKED_SECOND_LEVEL and c.htlc
            if c.htlc.direction is direction
        ]
        assert [c.ours for c in punished] == [True] * moved


@BOTH_TYPES
@pytest.mark.parametrize("shown", [False, True])
def test_u8_p6_upstream_is_settled_after_a_breach(channel_type: str, shown: bool) -> None:
    """A preimage that the cheater shows is told; without one the HTLC fails, once all is won."""
    court, sim = cheated(f"u8 {shown}", channel_type)
    if shown:
        steal(court, sim, "offered")
    fulfilled = [told["preimage"] for told in court.told("htlc.fulfilled")]
    assert fulfilled == ([str(sim.preimage(1))] if shown else [])
    while court.state != "FULLY_RESOLVED":
        assert court.told("htlc.failed") == []
        assert court.height < 200
        court.mine()
    assert [told["htlc_id"] for told in court.told("htlc.failed")] == ([] if shown else [1])


@BOTH_TYPES
def test_u3_what_is_not_on_the_revoked_commitment_fails_once_that_is_buried(
    channel_type: str,
) -> None:
    """However long our main output, which nobody else can take, waits for cheap blocks."""
    court, sim = begun("not on the revoked one", channel_type)
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 20)))
    court.reorg(0, [sim.their_commitment_tx(0)])
    court.reorg(0)
    assert court.told("htlc.failed") == []
    court.reorg(0)
    assert [told["htlc_id"] for told in court.told("htlc.failed")] == [1]
    assert "resolved" not in court.contract_stages.values()


@BOTH_TYPES
@pytest.mark.parametrize("known", [False, True])
def test_u5_what_the_cheater_may_still_claim_is_not_failed(channel_type: str, known: bool) -> None:
    """Neither what the sweeper gave up, nor any HTLC while it is not known whose an output is."""
    court, sim = begun("still to be claimed", channel_type)
    held = sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 200)
    court.tell(*sim.whole_move(0, held))
    other = sim.htlc(2, Direction.OFFERED, LARGE_MSAT, court.height + 200)
    court.tell(*sim.whole_move(0, held, other))
    if not known:
        court.forget_revoked_states()
    court.reorg(0, [sim.their_commitment_tx(_REVOKED)])
    if known:
        court.hear(SweepGivenUp(only(court, ContractKind.REVOKED_HTLC).outpoint, "too dear"))
    for _ in range(12):
        court.reorg(0)
    assert [told["htlc_id"] for told in court.told("htlc.failed")] == ([2] if known else [])
    court.reorg(0, [Peer(sim).second_level(_REVOKED, 1, sim.preimage(1))])
    court.mine(12)
    assert court.state == "FULLY_RESOLVED"
    assert [told["htlc_id"] for told in court.told("htlc.failed")] == [2]
    assert [told["htlc_id"] for told in court.told("htlc.fulfilled")] == [1]


@BOTH_TYPES
def test_a_second_level_that_the_cheater_could_sweep_is_lost_and_the_case_ends(
    channel_type: str,
) -> None:
    court, sim = cheated("too late", channel_type)
    steal(court, sim, "offered")
    moved = only(court, ContractKind.REVOKED_SECOND_LEVEL)
    court.reorg(0, [taken(moved.outpoint)])
    court.mine(12)
    assert court.state == "FULLY_RESOLVED"
    assert only(court, ContractKind.REVOKED_SECOND_LEVEL).ours is False


def test_p8_h4_htlcs_that_the_cheater_moves_together_are_punished_each_at_its_index() -> None:
    """Both delayed outputs have one script: only the index tells whose HTLC went where."""
    court, sim = begun("aggregated theft", ANCHORS_ZERO_FEE_HTLC)
    amounts = {1: 40_000, 2: 30_000}
    expiry = court.height + 200
    htlcs = [sim.htlc(n, Direction.OFFERED, sat * 1000, expiry) for n, sat in amounts.items()]
    court.tell(*sim.whole_move(0, *htlcs))
    court.tell(*sim.whole_move(1_000_000))
    court.reorg(0, [sim.their_commitment_tx(_REVOKED)])
    peer = Peer(sim)
    theft = aggregated(*(peer.second_level(_REVOKED, n, sim.preimage(n)) for n in amounts))
    court.reorg(0, [theft])
    moved = [c for c in court.case.contracts if c.kind is ContractKind.REVOKED_SECOND_LEVEL]
    assert {c.outpoint.txid for c in moved} == {theft.txid()}
    assert {(c.outpoint.vout, c.htlc.id, c.value_sat) for c in moved if c.htlc} == {
        (1, 1, 40_000),
        (2, 2, 30_000),
    }
    court.reorg(1)
    assert not [c for c in court.case.contracts if c.kind is ContractKind.REVOKED_SECOND_LEVEL]
    court.reorg(0, [theft])
    court.mine(12)
    assert court.state == "FULLY_RESOLVED"
    moved = [c for c in court.case.contracts if c.kind is ContractKind.REVOKED_SECOND_LEVEL]
    assert [(c.ours, c.stage) for c in moved] == [(True, ContractStage.RESOLVED)] * 2


def test_what_a_cheater_moves_together_of_two_channels_is_punished_by_each() -> None:
    """SIGHASH_SINGLE lets it: each channel finds its own delayed output at its own index."""
    courts = [begun(f"cheated in channel {name}", ANCHORS_ZERO_FEE_HTLC) for name in "AB"]
    amounts = {1: 40_000, 2: 30_000}
    moving = []
    for number, (court, sim) in enumerate(courts, 1):
        sat = amounts[number]
        held = sim.htlc(number, Direction.OFFERED, sat * 1000, court.height + 200)
        court.tell(*sim.whole_move(0, held))
        court.tell(*sim.whole_move(1_000_000))
        court.reorg(0, [sim.their_commitment_tx(_REVOKED)])
        moving.append(Peer(sim).second_level(_REVOKED, number, sim.preimage(number)))
    theft = aggregated(*moving)
    for number, (court, _) in enumerate(courts, 1):
        court.reorg(0, [theft])
        court.mine(12)
        assert court.state == "FULLY_RESOLVED"
        moved = only(court, ContractKind.REVOKED_SECOND_LEVEL)
        assert (moved.outpoint.vout, moved.value_sat) == (number, amounts[number])
        assert moved.ours


@BOTH_TYPES
def test_create_justice_tx(channel_type: str) -> None:
    """Each output is spent to our script, to the satoshi of its value less a fee."""
    court, _ = cheated("justice", channel_type)
    court.mine(12)
    assert court.state == "FULLY_RESOLVED"
    for contract in court.case.contracts:
        [tx] = [tx for tx in court.sent if tx.inputs[0].outpoint == contract.outpoint]
        [output] = tx.outputs
        assert output.script_pubkey == court.case.channel.sweep_script
        assert 0 < contract.value_sat - output.value < 1_000


@BOTH_TYPES
def test_another_breach_after_a_reorg_is_read_by_its_own_htlcs(channel_type: str) -> None:
    court, sim = begun("another breach", channel_type)
    expiry = court.height + 200
    for number in (1, 2):
        court.tell(*sim.whole_move(0, sim.htlc(number, Direction.OFFERED, LARGE_MSAT, expiry)))
    court.tell(*sim.whole_move(0))
    for number in (1, 2):
        court.chain.mempool.clear()
        court.reorg(number - 1, [sim.their_commitment_tx(number)])
        htlcs = [c.htlc for c in court.case.contracts if c.kind is ContractKind.REVOKED_HTLC]
        assert [htlc.id for htlc in htlcs if htlc is not None] == [number]
