"""A force close that was answered is decided, whatever it met on its way (promise P3)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.case import Case
from contractcourt.events import (
    ChannelUpdate,
    ChannelUpdated,
    Event,
    FundingReplaced,
    HeightReached,
    SpendUnconfirmed,
)
from contractcourt.units import BlockHash, BlockHeight, Satoshi, Txid
from storage import cases, channels, docket, force_closes, outbox
from storage.database import Connection, Database
from storage.docket import NewEntry
from tasks import force_close
from tasks.arbitration import arbitrate
from tasks.force_close import ForceCloseAnswer, ForceCloseOutcome, NothingToPublish
from tests.model.world import after_splice
from tests.spent import spent
from tests.tasks.opened import open_channel
from workers.simulation.channel import SimulatedChannel

_BLOCK, _HEIGHT = BlockHash(b"\x07" * 32), BlockHeight(200)


def _put(db: Database, channel_id: int, *events: Event) -> None:
    """On the docket; nobody has applied it yet."""
    entries = [NewEntry(channel_id, event, type(event).__name__, "chain") for event in events]
    db.run(lambda conn: docket.append_many(conn, entries))


def _hear(db: Database, channel_id: int, *events: Event) -> None:
    _put(db, channel_id, *events)
    arbitrate(db, [channel_id])


def _ask(db: Database, channel_id: int, key: str) -> ForceCloseAnswer:
    def work(conn: Connection) -> ForceCloseAnswer:
        row = channels.by_ids(conn, [channel_id])[0]
        return force_close.request(
            conn, row, requested_by="operator", reason="", idempotency_key=key
        )

    return db.run(work)


def _case(db: Database, channel_id: int) -> Case:
    stored = db.run(lambda conn: cases.read(conn, channel_id))
    assert stored is not None
    return stored.case


def _published(db: Database, channel_id: int) -> bool:
    unsent = db.run(lambda conn: outbox.unsent(conn, channel_id))
    return "publish_commitment" in {row.kind for row in unsent}


def _spliced(sim: SimulatedChannel) -> tuple[Event, Event, Event, Txid]:
    """A splice told and mined, and then our commitment on it, with its txid."""
    splice = sim.splice_tx()
    capacity = Satoshi(splice.outputs[0].value)
    ours = after_splice(sim, splice).local_commitment(0)
    return (
        FundingReplaced(OutPoint.of(splice.txid(), 0), (splice.txid(),), capacity),
        spent(sim.channel.funding_outpoint, splice, _HEIGHT, block_hash=_BLOCK),
        ChannelUpdated((ChannelUpdate(local_commitment=ours),)),
        ours.txid,
    )


def test_p3_nothing_is_accepted_between_a_splice_and_our_commitment_on_it(db: Database) -> None:
    sim, channel_id = open_channel(db, "before our commitment")
    told, mined, signed, txid = _spliced(sim)
    _hear(db, channel_id, told, mined)
    with pytest.raises(NothingToPublish, match=r"present funding.*channel\.updated"):
        _ask(db, channel_id, "too early")
    assert db.run(lambda conn: force_closes.find(conn, channel_id)) is None
    _hear(db, channel_id, signed)
    answer = _ask(db, channel_id, "again")
    assert (answer.outcome, answer.closing_txid) == (ForceCloseOutcome.ACCEPTED, txid)
    arbitrate(db, [channel_id])
    assert _published(db, channel_id)


def test_p3_what_was_accepted_while_a_splice_was_applied_is_decided_with_our_commitment(
    db: Database,
) -> None:
    sim, channel_id = open_channel(db, "a splice is being applied")
    told, mined, signed, txid = _spliced(sim)
    _hear(db, channel_id, told)
    _put(db, channel_id, mined)
    assert _ask(db, channel_id, "one").outcome is ForceCloseOutcome.ACCEPTED
    arbitrate(db, [channel_id])
    assert _case(db, channel_id).force_close is None
    second = _ask(db, channel_id, "two")
    assert (second.outcome, second.closing_txid) == (ForceCloseOutcome.DROPPED, None)
    _hear(db, channel_id, signed)
    decided = _case(db, channel_id).force_close
    assert decided is not None
    assert (decided.txid, decided.requested_by) == (txid, "operator")
    assert _published(db, channel_id)


def test_p3_what_was_accepted_while_a_close_was_applied_is_decided_when_a_reorg_takes_it_back(
    db: Database,
) -> None:
    sim, channel_id = open_channel(db, "a close is being applied")
    theirs = sim.their_commitment_tx()
    _hear(db, channel_id, spent(sim.channel.funding_outpoint, theirs, _HEIGHT, block_hash=_BLOCK))
    _put(db, channel_id, HeightReached(BlockHeight(_HEIGHT + 10)))
    assert _ask(db, channel_id, "one").outcome is ForceCloseOutcome.ACCEPTED
    arbitrate(db, [channel_id])
    assert _case(db, channel_id).closed
    gone = SpendUnconfirmed(
        sim.channel.funding_outpoint, theirs.txid(), _BLOCK, BlockHeight(_HEIGHT - 1)
    )
    _hear(db, channel_id, gone)
    decided = _case(db, channel_id).force_close
    assert decided is not None
    assert decided.txid == sim.local_commitment(0).txid
    assert _ask(db, channel_id, "two").outcome is ForceCloseOutcome.DROPPED
    assert _published(db, channel_id)


def test_what_is_asked_for_on_a_funding_that_replaced_the_first_is_accepted(db: Database) -> None:
    """The court has not moved there yet: it does so with the next block."""
    sim, channel_id = open_channel(db, "replaced by fee")
    there = replace(sim, funding_outpoint=OutPoint.of(Txid(b"\x09" * 32), 0))
    first, moved = ChannelUpdate(local_commitment=there.local_commitment()), there.whole_move(0)
    replaced = FundingReplaced(there.funding_outpoint, (), Satoshi(sim.capacity_sat))
    _hear(db, channel_id, replaced, ChannelUpdated((first, *moved)))
    assert _ask(db, channel_id, "asked").outcome is ForceCloseOutcome.ACCEPTED
    arbitrate(db, [channel_id])
    assert not _published(db, channel_id)
    _hear(db, channel_id, HeightReached(_HEIGHT))
    assert _published(db, channel_id)
    decided = _case(db, channel_id).force_close
    assert decided is not None
    assert decided.txid == there.our_commitment_tx().txid()
