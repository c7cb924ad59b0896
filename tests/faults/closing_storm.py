"""Many channels of one node that all close in one block."""

from __future__ import annotations

from contractcourt.channel import STATIC_REMOTEKEY
from storage import channels
from tests.faults.ends import End, end_of
from tests.faults.parts import PartedCourt
from tests.scenarios.many_channels import ManyChannels
from workers.simulation.channel import SimulatedChannel

_MOST_BLOCKS = 20


class ClosingStorm:
    """`count` channels whose peers all publish their commitments at once."""

    def __init__(self, court: PartedCourt, name: str, count: int) -> None:
        self.court = court
        self.sims = [
            SimulatedChannel(f"{name} {number}", STATIC_REMOTEKEY, node=name)
            for number in range(count)
        ]
        self.many = ManyChannels(court, self.sims)  # type: ignore[arg-type]
        self.many.open()

    def break_out(self) -> None:
        """All closes in one block; nobody waits for anything."""
        self.many.broadcast(*(sim.their_commitment_tx() for sim in self.sims))
        self.court.client.mine(1)

    def pass_by(self) -> set[End]:
        """Blocks until all are resolved; the different ways in which they ended."""
        for _ in range(_MOST_BLOCKS):
            self.court.client.wait_quiet()
            if self._resolved() == len(self.sims):
                break
            self.court.client.mine(1)
        return {end_of(self.court.client, str(sim.channel.channel_point)) for sim in self.sims}

    def _resolved(self) -> int:
        with self.court.client.db.transaction() as conn:
            rows = channels.list_channels(conn, node=self.sims[0].node, limit=100_000)
        return sum(row.fully_resolved_height is not None for row in rows)
