"""Channels open before a database, without a chain: for what tasks do between two commits."""

from __future__ import annotations

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.events import ChannelOpened, ChannelUpdated
from contractcourt.units import Txid
from storage import nodes
from storage.database import Connection, Database
from tasks import arbitration
from workers.simulation.channel import SimulatedChannel


def open_channel(db: Database, name: str) -> tuple[SimulatedChannel, int]:
    """A channel with both commitments 0 told; its id."""
    digest = Txid(name.encode().ljust(32, b"\0")[:32])
    sim = SimulatedChannel(name).funded(OutPoint.of(digest, 0))
    return sim, open_funded(db, sim)


def open_funded(db: Database, sim: SimulatedChannel) -> int:
    """The same for a channel that has its funding; its id."""

    def work(conn: Connection) -> int:
        if nodes.get_node(conn, sim.node) is None:
            nodes.add_node(conn, sim.node, [sim.sweep_script])
        opened = arbitration.open_channel(
            conn, ChannelOpened(sim.channel), idempotency_key="opened", source="node"
        )
        assert opened is not None
        arbitration.apply_at_the_door(
            conn,
            opened[0],
            ChannelUpdated((sim.first_update(),)),
            idempotency_key="first",
            source="node",
        )
        return opened[0]

    return db.run(work)
