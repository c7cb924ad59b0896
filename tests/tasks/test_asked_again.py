"""What happens a second time after a reorg is heard a second time."""

from __future__ import annotations

from uuid import uuid4

from contractcourt.case import State
from contractcourt.channel import Direction
from contractcourt.contract import ContractKind
from contractcourt.effects import CloseKind
from contractcourt.events import ChannelUpdate, ChannelUpdated, PreimageLearned
from contractcourt.units import BlockHash, BlockHeight
from storage import blocks, htlc_index, sweep_inputs
from storage.database import Database
from storage.sweep_inputs import StoredSweep, SweepState
from tasks import arbitration
from tasks.resources import Resources
from tasks.sweeper.findings import Findings
from tests.contractcourt.sweeping.wanted import market
from tests.scenarios.others import taken
from tests.tasks.chain_events import ChainEvents
from tests.tasks.opened import open_channel


def tell(db: Database, channel_id: int, *updates: ChannelUpdate) -> None:
    key = uuid4().hex
    db.run(
        lambda conn: arbitration.apply_at_the_door(
            conn, channel_id, ChannelUpdated(updates), idempotency_key=key, source="node"
        )
    )


def test_a_breach_is_punished_that_is_back_after_another_one(db: Database) -> None:
    """The case keeps one revoked state, and asks for the first one again."""
    sim, channel_id = open_channel(db, "breach again")
    htlc = sim.htlc(1, Direction.OFFERED, 30_000_000, 700)
    for htlcs in ((htlc,), (htlc,), ()):
        tell(db, channel_id, *sim.whole_move(1_000_000, *htlcs))
    chain = ChainEvents(db, channel_id)
    funding = sim.channel.funding_outpoint
    one, two = sim.their_commitment_tx(1), sim.their_commitment_tx(2)
    for breach, height in ((one, 200), (two, 201), (one, 202)):
        chain.spent(funding, breach, height)
        seen = chain.case()
        assert seen.closed
        assert {contract.outpoint.txid for contract in seen.contracts} == {breach.txid()}
        assert ContractKind.REVOKED_HTLC in {contract.kind for contract in seen.contracts}
        if height < 202:
            chain.unspent(funding, breach, height)
            assert not chain.case().closed
    assert seen.funding_spend is not None
    assert seen.funding_spend.kind is CloseKind.BREACH


def _sweep(db: Database, channel_id: int, kind: ContractKind) -> StoredSweep:
    with db.transaction() as conn:
        rows = sweep_inputs.of_channel(conn, channel_id)
    [row] = [row for row in rows if row.wish.effect.contract.kind is kind]
    return row


def _move_cursor(db: Database, before: int | None, height: int) -> None:
    """The watcher has come this far."""
    with db.transaction() as conn:
        if before is None:
            blocks.init_cursor(conn, BlockHeight(height), BlockHash(bytes(32)))
        else:
            conn.execute("UPDATE chain_cursor SET height = %s", (height,))


def test_what_is_given_up_a_second_time_is_resolved_a_second_time(
    db: Database, held: Resources
) -> None:
    sim, channel_id = open_channel(db, "given up again")
    chain = ChainEvents(db, channel_id)

    def give_up() -> None:
        row = _sweep(db, channel_id, ContractKind.TO_REMOTE)
        assert row.state is SweepState.WANTED
        dear = market(floor=300_000)
        Findings(held, sim.node).wait([(row, row.input)], dear, row.patience_ends())
        arbitration.arbitrate(db, [channel_id])
        assert chain.case().state is State.FULLY_RESOLVED

    _move_cursor(db, None, 202)
    chain.spent(sim.channel.funding_outpoint, sim.their_commitment_tx(), 200)
    chain.height(202)
    give_up()
    _move_cursor(db, 202, 4_300)
    outpoint = _sweep(db, channel_id, ContractKind.TO_REMOTE).outpoint
    chain.spent(outpoint, taken(outpoint), 4_300)
    chain.unspent(outpoint, taken(outpoint), 4_300)
    give_up()


def test_l12_a_preimage_that_comes_after_all_is_resolved_still_claims_its_htlc(
    db: Database,
) -> None:
    """At its expiry a received HTLC is given up; the peer has not taken it back yet."""
    sim, channel_id = open_channel(db, "late preimage")
    htlc = sim.htlc(1, Direction.RECEIVED, 50_000_000, 220)
    tell(db, channel_id, *sim.whole_move(0, htlc))
    chain = ChainEvents(db, channel_id)
    chain.spent(sim.channel.funding_outpoint, sim.their_commitment_tx(), 200)
    chain.height(202)
    for contract in chain.case().contracts:
        if contract.kind is not ContractKind.RECEIVED_HTLC:
            chain.spent(contract.outpoint, taken(contract.outpoint), 204)
    chain.height(210)
    chain.height(220)
    assert chain.case().state is State.FULLY_RESOLVED
    with db.transaction() as conn:
        holders = htlc_index.channels_with(conn, sim.node, htlc.payment_hash)
    assert list(holders) == [channel_id]
    chain.tell(PreimageLearned(htlc.payment_hash, sim.preimage(1)))
    assert chain.case().state is State.WAITING_FULL_RESOLUTION
    row = _sweep(db, channel_id, ContractKind.RECEIVED_HTLC)
    assert row.state is SweepState.WANTED
    # Once the peer has it there is nothing left to claim.
    chain.spent(row.outpoint, taken(row.outpoint), 221)
    chain.height(400)
    assert chain.case().state is State.FULLY_RESOLVED
    with db.transaction() as conn:
        assert htlc_index.channels_with(conn, sim.node, htlc.payment_hash) == {}
