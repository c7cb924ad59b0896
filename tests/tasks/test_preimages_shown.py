"""A preimage that the chain shows claims every HTLC of its payment, whenever that is told."""

from __future__ import annotations

import msgspec

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import Direction
from contractcourt.events import ChannelUpdated, HeightReached
from contractcourt.units import BlockHeight
from storage import cases, docket
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
    events = (
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
