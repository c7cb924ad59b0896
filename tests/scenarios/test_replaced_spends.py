"""Spends of contracts told out of turn: twice, late, or by another without an unspend between."""

from __future__ import annotations

import pytest

from contractcourt.bitcoin.transaction import Transaction
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, Direction
from contractcourt.contract import ContractKind, ContractStage
from contractcourt.events import SpendConfirmed, SpendUnconfirmed
from contractcourt.units import BlockHash
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.others import aggregated, taken
from tests.scenarios.test_bolt5_closes import BOTH_TYPES, LARGE_MSAT, begun
from tests.spent import spent
from workers.simulation.peer import Peer


def _spent(court: MemoryCourt, tx: Transaction, block: int) -> SpendConfirmed:
    """`tx` takes its first input's outpoint in the block that is `block` below the tip."""
    mined = court.chain.blocks[-1 - block]
    return spent(
        tx.inputs[0].outpoint,
        tx,
        mined.height,
        block_hash=mined.hash,
        tip_height=court.chain.height,
    )


def _with_second_level(name: str, channel_type: str) -> tuple[MemoryCourt, Transaction]:
    """Our HTLC-timeout was mined in the newest block."""
    court, sim = begun(name, channel_type)
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 10)))
    court.force_close()
    while "second_level" not in court.contract_stages:
        assert court.height < 130
        court.mine()
    [htlc] = [c for c in court.case.contracts if c.kind is ContractKind.OFFERED_HTLC]
    found = court.chain.spender(htlc.outpoint)
    assert found is not None
    return court, found[1]


@BOTH_TYPES
def test_an_unspend_of_another_spend_takes_nothing_back(channel_type: str) -> None:
    """It comes late, or twice: the spend that stands is not the one that went."""
    court, timeout = _with_second_level("late unspend", channel_type)
    before = court.case
    outpoint = timeout.inputs[0].outpoint
    gone = court.chain.blocks[0].hash
    court.hear(SpendUnconfirmed(outpoint, timeout.txid(), gone, court.chain.height))
    assert court.case == before
    other = taken(outpoint).txid()
    court.hear(SpendUnconfirmed(outpoint, other, court.chain.blocks[-1].hash, court.chain.height))
    assert court.case == before


@BOTH_TYPES
def test_a_spend_that_replaces_another_takes_back_what_that_one_made(channel_type: str) -> None:
    """Told without the unspend between: the output that our HTLC-timeout made is no more."""
    court, timeout = _with_second_level("replaced spend", channel_type)
    stranger = taken(timeout.inputs[0].outpoint)
    court.hear(_spent(court, stranger, 0))
    assert "second_level" not in court.contract_stages
    assert court.contract_stages["offered_htlc"] == ContractStage.SPENT.value
    assert court.told("contract.reopened") == [], "it was never told as resolved"
    court.chain.mempool.clear()
    court.mine(40)
    assert court.state == "FULLY_RESOLVED"


@BOTH_TYPES
@pytest.mark.parametrize("first", [0, 1])
def test_a_spend_and_that_of_what_it_made_are_taken_back_in_either_order(
    channel_type: str, first: int
) -> None:
    """A cheater moved an HTLC on, and was punished there in the same block, which is gone."""
    court, sim = begun("a block of both", channel_type)
    held = sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 200)
    court.tell(*sim.whole_move(0, held))
    court.tell(*sim.whole_move(0))
    court.reorg(0, [sim.their_commitment_tx(1)])
    theft = Peer(sim).second_level(1, 1, sim.preimage(1))
    court.reorg(0, [theft])
    [moved] = [c for c in court.case.contracts if c.kind is ContractKind.REVOKED_SECOND_LEVEL]
    justice = taken(moved.outpoint)
    court.hear(_spent(court, justice, 0))
    block = court.chain.blocks[-1].hash
    unspends = [
        SpendUnconfirmed(tx.inputs[0].outpoint, tx.txid(), block, court.height)
        for tx in (theft, justice)
    ]
    court.hear(unspends[first])
    court.hear(unspends[1 - first])
    assert "revoked_second_level" not in court.contract_stages
    assert all(contract.spend is None for contract in court.case.contracts)


_BLOCKS = {name: BlockHash(name.encode() * 32) for name in "AB"}
ORDERS = pytest.mark.parametrize(
    "order",
    ["A1 A2 B1 B2", "A1 A2 -1 B1 -2 B2", "A1 A2 -1 -2 B1 B2", "A1 A2 B2 -1 B1"],
)


@ORDERS
def test_h3_each_output_of_one_transaction_of_ours_stays_however_its_blocks_are_told(
    order: str,
) -> None:
    """Two HTLCs taken together: what the word on one of them takes back leaves the other's."""
    court, sim = begun("told in another block", ANCHORS_ZERO_FEE_HTLC)
    amounts = {1: 40_000, 2: 30_000}
    held = [sim.htlc(n, Direction.OFFERED, sat * 1000, 110) for n, sat in amounts.items()]
    court.tell(*sim.whole_move(0, *held))
    court.reorg(0, [sim.our_commitment_tx()])
    while court.height < 110:
        court.reorg(0)
    us = Peer(sim.as_peer())
    _tell_in_order(court, [us.second_level(1, n) for n in amounts], order)
    moved = [c for c in court.case.contracts if c.kind is ContractKind.SECOND_LEVEL]
    assert sorted(c.value_sat for c in moved) == sorted(amounts.values())
    assert all(court.is_watched(contract.outpoint) for contract in moved)


@ORDERS
def test_what_a_cheater_moves_together_stays_though_its_htlcs_were_never_told(
    order: str,
) -> None:
    """Which output came from which HTLC nobody can say: they go when the last spend does."""
    court, sim = begun("moved in another block", ANCHORS_ZERO_FEE_HTLC)
    amounts = {1: 40_000, 2: 30_000}
    held = [sim.htlc(n, Direction.OFFERED, sat * 1000, 210) for n, sat in amounts.items()]
    court.tell(*sim.whole_move(0, *held))
    court.tell(*sim.whole_move(0))
    court.forget_revoked_states()
    court.reorg(0, [sim.their_commitment_tx(1)])
    peer = Peer(sim)
    moving = [peer.second_level(1, n, sim.preimage(n)) for n in amounts]
    tx = _tell_in_order(court, moving, order)
    moved = [c for c in court.case.contracts if c.kind is ContractKind.REVOKED_SECOND_LEVEL]
    assert sorted(c.value_sat for c in moved) == sorted(amounts.values())
    assert all(court.is_watched(contract.outpoint) for contract in moved)
    for one in moving:
        gone = SpendUnconfirmed(one.inputs[0].outpoint, tx.txid(), _BLOCKS["B"], court.height)
        court.hear(gone)
    assert "revoked_second_level" not in court.contract_stages


def _tell_in_order(court: MemoryCourt, second_levels: list[Transaction], order: str) -> Transaction:
    """These in one, whose spends are told and taken back in `order`: block and HTLC, or - of A."""
    tx = aggregated(*second_levels)
    height = court.height + 1
    for step in order.split():
        outpoint = second_levels[int(step[1]) - 1].inputs[0].outpoint
        if step[0] == "-":
            court.hear(SpendUnconfirmed(outpoint, tx.txid(), _BLOCKS["A"], court.height))
        else:
            court.hear(spent(outpoint, tx, height, block_hash=_BLOCKS[step[0]]))
    return tx


@BOTH_TYPES
def test_a_close_that_replaces_another_takes_that_one_back(channel_type: str) -> None:
    """Told without the unspend between: what the peer's commitment had left is no more."""
    court, sim = begun("replaced close", channel_type)
    ours = sim.our_commitment_tx()
    court.reorg(0, [sim.their_commitment_tx()])
    court.jump(6)
    assert court.close_kind == "remote"
    tip = court.chain.blocks[-1]
    court.hear(spent(sim.funding_outpoint, ours, tip.height, block_hash=tip.hash))
    assert not court.closed_in_database
    assert court.contract_stages == {}
    court.chain.mempool.clear()
    court.mine(6)
    assert court.close_kind == "local"
    assert {c.outpoint.txid for c in court.case.contracts} == {ours.txid()}


@BOTH_TYPES
def test_an_unspend_of_another_close_takes_nothing_back(channel_type: str) -> None:
    court, sim = begun("late unspend of a close", channel_type)
    theirs, ours = sim.their_commitment_tx(), sim.our_commitment_tx()
    court.reorg(0, [theirs])
    mined = court.chain.blocks[-1]
    court.jump(6)
    before = court.case
    for txid, block in ((theirs.txid(), court.chain.blocks[-1].hash), (ours.txid(), mined.hash)):
        court.hear(SpendUnconfirmed(sim.funding_outpoint, txid, block, court.height))
        assert court.case == before


@BOTH_TYPES
def test_a_spend_of_a_resolved_case_that_another_replaces_opens_it_again(channel_type: str) -> None:
    court, sim = begun("replaced at the end", channel_type)
    court.broadcast(sim.their_commitment_tx())
    court.mine(20)
    assert court.state == "FULLY_RESOLVED"
    [contract] = court.case.contracts
    court.hear(_spent(court, taken(contract.outpoint), 0))
    assert court.state == "WAITING_FULL_RESOLUTION"


@BOTH_TYPES
def test_an_unspend_of_what_nobody_spent_says_nothing(channel_type: str) -> None:
    court, sim = begun("unspent already", channel_type)
    court.reorg(0, [sim.our_commitment_tx()])
    court.jump(6)
    before = court.case
    for contract in before.contracts:
        gone = taken(contract.outpoint).txid()
        tip = court.chain.blocks[-1].hash
        court.hear(SpendUnconfirmed(contract.outpoint, gone, tip, court.height))
    assert court.case == before
