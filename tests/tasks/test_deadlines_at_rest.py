"""A case that is fully resolved is woken no more for its old HTLCs, until a reorg opens it."""

from __future__ import annotations

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.case import State
from contractcourt.channel import Direction
from contractcourt.events import ChannelUpdated, PolicyChanged
from contractcourt.policy import Policy
from contractcourt.units import Blocks
from storage import deadlines
from storage.database import Database
from tests.tasks.chain_events import ChainEvents
from tests.tasks.opened import open_channel
from workers.simulation.channel import SimulatedChannel

_EXPIRY = 500


def test_deadlines_leave_with_their_case_and_come_back_with_a_reorg(db: Database) -> None:
    sim, channel_id = open_channel(db, "at rest")
    chain = ChainEvents(db, channel_id)
    tell_htlc(chain, sim)
    chain.height(99)
    held = due(db, channel_id)
    assert _EXPIRY in held.values()
    close, funding = sim.cooperative_tx(), sim.channel.funding_outpoint
    chain.spent(funding, close, 100)
    assert due(db, channel_id).items() >= held.items()
    chain.height(110)
    assert chain.case().state is State.FULLY_RESOLVED
    assert due(db, channel_id) == {}
    chain.unspent(funding, close, 100)
    assert due(db, channel_id) == held


def test_what_is_resolved_before_it_is_buried_fails_upstream_when_it_is(db: Database) -> None:
    sim, channel_id = open_channel(db, "resolved early")
    chain = ChainEvents(db, channel_id)
    cheat = sim.their_commitment_tx(0)
    tell_htlc(chain, sim)
    chain.tell(PolicyChanged(Policy(final_depth=Blocks(1))))
    chain.spent(sim.channel.funding_outpoint, cheat, 100)
    for contract in chain.case().contracts:
        chain.spent(contract.outpoint, spending(contract.outpoint), 101)
    resolved = chain.case()
    assert (resolved.state, resolved.failed_htlcs) == (State.FULLY_RESOLVED, ())
    assert due(db, channel_id) == {"the commitment is buried": 102}
    chain.height(102)
    assert chain.case().failed_htlcs == (7,)


def tell_htlc(chain: ChainEvents, sim: SimulatedChannel) -> None:
    """Both sides have signed an HTLC that our node offered."""
    htlc = sim.htlc(7, Direction.OFFERED, 60_000_000, _EXPIRY)
    chain.tell(ChannelUpdated(sim.whole_move(0, htlc)))


def spending(outpoint: OutPoint) -> Transaction:
    return Transaction(2, (TxIn(outpoint),), (TxOut(300, bytes(22)),))


def due(db: Database, channel_id: int) -> dict[str, int]:
    """The channel's deadlines that have not fired, by reason."""
    with db.transaction() as conn:
        found = deadlines.list_deadlines(conn, channel_id=channel_id)
    return {one.reason: one.height for one in found}
