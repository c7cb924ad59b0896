"""Many channels of one node before a running court, for what sweeps share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.events import ChannelUpdate
from storage import broadcasts, channels, sweep_inputs
from storage.broadcasts import Broadcast, BroadcastState
from storage.database import Connection
from storage.sweep_inputs import StoredSweep
from workers.simulation.channel import SimulatedChannel
from workers.simulation.court import RunningCourt
from workers.simulation.feed import opened_data, update_data


class ManyChannels:
    """Funded in one transaction, opened one by one."""

    def __init__(self, running: RunningCourt, sims: Sequence[SimulatedChannel]) -> None:
        self.running = running
        self.client = running.client
        self.sims = sims
        self.account = running.node(sims[0].node, sims[0].sweep_script)
        self._fund()

    def _fund(self) -> None:
        outputs = [
            {"script_hex": sim.funding_script_pubkey.hex(), "amount_sat": sim.capacity_sat}
            for sim in self.sims
        ]
        paid = self.client.rpc("devnet_spend", outputs)
        for sim, point in zip(self.sims, paid["outpoints"], strict=True):
            sim.funded(OutPoint.parse(point))
        self.client.mine(1)

    def open(
        self, keys: Callable[[SimulatedChannel], dict[str, str]] = SimulatedChannel.key_document
    ) -> None:
        """Open all of them, and tell both commitments 0. `keys`: what is imported for each."""
        for sim in self.sims:
            self.client.import_keys(keys(sim))
            self.client.webhook(self.account, "channel.opened", opened_data(sim.channel))
            self.tell(sim, sim.first_update())
        self.client.wait_quiet()

    def tell(self, sim: SimulatedChannel, *updates: ChannelUpdate) -> None:
        data = {
            "channel_point": str(sim.channel.channel_point),
            "updates": [update_data(update) for update in updates],
        }
        self.client.webhook(self.account, "channel.updated", data)

    def broadcast(self, *transactions: Transaction) -> None:
        for tx in transactions:
            self.client.rpc("sendrawtransaction", tx.serialize().hex())

    def mine(self, count: int = 1) -> None:
        for _ in range(count):
            self.client.mine(1)
            self.client.wait_quiet()

    def mine_only(self, *transactions: Transaction) -> None:
        """A block with these alone; the mempool waits."""
        self.client.mine(1, [tx.serialize().hex() for tx in transactions])
        self.client.wait_quiet()

    def state(self, sim: SimulatedChannel) -> str:
        return str(self.client.channel(str(sim.channel.channel_point))["state"])

    def alarms(self, sim: SimulatedChannel) -> set[str]:
        case = self.client.channel(str(sim.channel.channel_point))
        return {alarm["kind"] for alarm in case["alarms"]}

    def sweeps(self, sim: SimulatedChannel) -> list[StoredSweep]:
        """What the sweeper holds of this channel."""

        def read(conn: Connection) -> list[StoredSweep]:
            row = channels.find(conn, sim.channel.channel_point)
            assert row is not None
            return sweep_inputs.of_channel(conn, row.id)

        return self.client.db.run(read)

    def out(self, sim: SimulatedChannel) -> list[Broadcast]:
        """What is on its way for this channel."""

        def read(conn: Connection) -> list[Broadcast]:
            row = channels.find(conn, sim.channel.channel_point)
            assert row is not None
            return broadcasts.for_channel(conn, row.id)

        return [one for one in self.client.db.run(read) if one.state is BroadcastState.OPEN]

    def confirmed(self, sim: SimulatedChannel, purpose: str = "sweep") -> list[str]:
        """Txids of our mined transactions for this channel."""
        case = self.client.channel(str(sim.channel.channel_point))
        return [
            b["txid"]
            for b in case["broadcasts"]
            if (b["purpose"], b["state"]) == (purpose, "confirmed")
        ]
