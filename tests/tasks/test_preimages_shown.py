"""A preimage that the chain shows claims every HTLC of its payment, whenever that is told."""

from __future__ import annotations

import msgspec
import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import Direction
from contractcourt.events import ChannelUpdated, Event, HeightReached, PreimageLearned
from contractcourt.units import BlockHeight, PaymentHash, Secret
from storage import cases, docket, told_preimages
from storage.database import Database
from storage.docket import NewEntry
from tasks import arbitration
from tasks.arbitration import arbitrate
from tests.spent import spent
from tests.tasks.opened import open_channel
from workers.simulation.peer import Peer

_CLOSED, _FINAL, _CLAIMED = 100, BlockHeight(110), 111


def tell(db: Database, channel_id: int, update: ChannelUpdated) -> None:
    with db.transaction() as conn:
        arbitration.apply_at_the_door(
            conn, channel_id, update, idempotency_key="moved", source="node"
        )


def test_a_preimage_that_the_chain_shows_waits_for_an_htlc_that_is_told_later(
    db: Database,
) -> None:
    """The updates of the channel upstream were held up until the peer downstream had claimed."""
    downstream, first = open_channel(db, "downstream")
    offered = downstream.htlc(1, Direction.OFFERED, 20_000_000, 700)
    tell(db, first, ChannelUpdated(downstream.whole_move(0, offered)))
    closing = downstream.their_commitment_tx()
    claim = Peer(downstream).second_level(1, 1, downstream.preimage(1))
    output = OutPoint(bytes(claim.inputs[0].outpoint))
    events: tuple[Event, ...] = (
        spent(downstream.channel.funding_outpoint, closing, _CLOSED),
        HeightReached(_FINAL),
        spent(output, claim, _CLAIMED),
    )
    entries = [NewEntry(first, event, f"{n}", "chain") for n, event in enumerate(events)]
    db.run(lambda conn: docket.append_many(conn, entries))
    arbitrate(db, [first])

    upstream, second = open_channel(db, "upstream")
    received = upstream.htlc(1, Direction.RECEIVED, 20_000_000, 740)
    received = msgspec.structs.replace(received, payment_hash=offered.payment_hash)
    tell(db, second, ChannelUpdated(upstream.whole_move(0, received)))
    with db.transaction() as conn:
        stored = cases.read(conn, second)
    assert stored is not None
    assert stored.case.preimage_of(offered.payment_hash) == downstream.preimage(1)


@pytest.mark.parametrize("at_once", [False, True])
def test_an_htlc_of_a_payment_that_was_settled_has_its_preimage_again(
    db: Database, at_once: bool
) -> None:
    """Parts of one payment come one after another; each is settled before the next one comes."""
    sim, channel_id = open_channel(db, f"parts {at_once}")
    htlc = sim.htlc(1, Direction.RECEIVED, 20_000_000, 700)
    known = PreimageLearned(htlc.payment_hash, sim.preimage(1))
    db.run(lambda conn: told_preimages.remember(conn, sim.node, known.payment_hash, known.preimage))
    parts = [msgspec.structs.replace(htlc, id=number) for number in (1, 2, 3)]
    # Our commitment before the newest is known too: an HTLC is settled with the second move.
    held = [parts[:1], [], [], parts[1:2], [], [], parts[2:]]
    for number, htlcs in enumerate(held):
        moved = ChannelUpdated(sim.whole_move(0, *htlcs), forgets=True)
        entry = NewEntry(channel_id, moved, f"moved {number}", "node")
        with db.transaction() as conn:
            docket.append_many(conn, [entry])
        if number == 0 or not at_once:
            arbitrate(db, [channel_id])
            is_known = _preimage(db, channel_id, htlc.payment_hash) is not None
            assert is_known is (number % 3 != 2)
    arbitrate(db, [channel_id])
    assert _preimage(db, channel_id, htlc.payment_hash) == known.preimage


def _preimage(db: Database, channel_id: int, payment_hash: PaymentHash) -> Secret | None:
    with db.transaction() as conn:
        stored = cases.read(conn, channel_id)
    assert stored is not None
    return stored.case.preimage_of(payment_hash)
