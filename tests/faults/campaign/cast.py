"""Who plays: the demo's acts, each by a channel of its own, as many nodes as it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from contractcourt.bitcoin.outpoint import OutPoint
from tests.faults.parts import PartedCourt
from workers.demo.acts import ACTS, REPLACED, SPIKE, SPLICED, Act, Player
from workers.simulation.channel import SimulatedChannel
from workers.simulation.feed import opened_data

#: What needs a fee market of its own is left to the demo.
PLAYED: tuple[Act, ...] = tuple(act for act in ACTS if act.title != SPIKE)


@dataclass(slots=True)
class Actor(Player):
    """A player whose transactions are sent again until they are mined, as a peer's node does."""

    keep_sending: Callable[[str], None] = lambda _: None

    def send(self, tx_hex: str) -> None:
        """Into the mempool, and again before every block."""
        self.keep_sending(tx_hex)

    @property
    def part(self) -> tuple[str, str]:
        """What it plays, and with which type of channel."""
        return self.act.title, self.act.channel_type


class Cast:
    """Channels of some nodes, each with an act."""

    def __init__(
        self, court: PartedCourt, name: str, count: int, keep_sending: Callable[[str], None]
    ) -> None:
        self._client = court.client
        self.actors: list[Actor] = []
        self._fund(court, name, count, keep_sending)

    def _fund(
        self, court: PartedCourt, name: str, count: int, keep_sending: Callable[[str], None]
    ) -> None:
        acts = [PLAYED[number % len(PLAYED)] for number in range(count)]
        sims = [
            SimulatedChannel(
                f"{name} {number}",
                act.channel_type,
                node=f"{name}-{number // len(PLAYED)}",
                feerate_per_kw=act.feerate_per_kw,
            )
            for number, act in enumerate(acts)
        ]
        outputs = [
            {"script_hex": sim.funding_script_pubkey.hex(), "amount_sat": sim.capacity_sat}
            for sim in sims
        ]
        accounts = [court.node(sim.node, sim.sweep_script) for sim in sims]
        paid = self._client.rpc("devnet_spend", outputs)
        self._client.mine(1)
        points = paid["outpoints"]
        for act, sim, account, point in zip(acts, sims, accounts, points, strict=True):
            sim.funded(OutPoint.parse(point))
            self.actors.append(Actor(act, sim, self._client, account, keep_sending=keep_sending))

    def open(self, each: Callable[[], None]) -> None:
        """Their nodes open them, and tell both commitments 0; `each` is called in between."""
        for actor in self.actors:
            each()
            self._client.import_keys(actor.sim.key_document())
            self._client.webhook(actor.node, "channel.opened", opened_data(actor.sim.channel))
            actor.tell(actor.sim.first_update())

    def close(self, each: Callable[[], None]) -> list[str]:
        """Each begins its close; what the block of the closes is forced to hold."""
        for actor in self.actors:
            each()
            actor.act.close(actor)
        return [tx for actor in self.actors if actor.act.mined for tx in actor.act.mined(actor)]

    def later(self) -> None:
        """The peers go on where an act has a second part."""
        for actor in self.actors:
            if actor.act.later is not None:
                actor.act.later(actor)

    def close_spliced(self) -> None:
        """The spliced channels are closed by both."""
        for actor in self._who_plays(SPLICED):
            splice = actor.sim.splice_tx()
            moved = SimulatedChannel(
                actor.sim.seed,
                actor.sim.channel_type,
                capacity_sat=splice.outputs[0].value,
                node=actor.sim.node,
            )
            moved.funded(OutPoint.of(splice.txid(), 0))
            actor.send(moved.cooperative_tx().serialize().hex())

    def replaced(self) -> tuple[list[str], list[str]]:
        """Closes that a reorg takes back: their txids, and what is mined instead."""
        actors = self._who_plays(REPLACED)
        gone = [str(actor.sim.their_commitment_tx().txid()) for actor in actors]
        return gone, [actor.sim.cooperative_tx().serialize().hex() for actor in actors]

    def _who_plays(self, title: str) -> Sequence[Actor]:
        return [actor for actor in self.actors if actor.act.title == title]
