"""What happens to each channel of the story, and how it must end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from msgspec.structs import replace

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY, Direction
from contractcourt.events import ChannelUpdate
from contractcourt.units import PaymentHash, Secret
from workers.simulation.channel import SimulatedChannel
from workers.simulation.client import CourtClient, NodeAccount
from workers.simulation.feed import update_data
from workers.simulation.peer import Peer

#: How often one force close is asked for in the act that asks again.
ASKED_TIMES = 10

#: Blocks from the opening until an offered HTLC of the story expires.
_EXPIRES_IN = 14
#: And until the HTLC that was forwarded expires in the channel it came from.
_FORWARDED_EXPIRES_IN = 80
#: The preimage of the forward.
_FORWARDED = Secret(sha256(b"a forward").digest())


@dataclass(slots=True)
class Player:
    """One channel on the stage."""

    act: Act
    sim: SimulatedChannel
    court: CourtClient
    node: NodeAccount
    note: str = ""

    @property
    def channel_point(self) -> str:
        return str(self.sim.channel.channel_point)

    def tell(self, *updates: ChannelUpdate) -> None:
        """The node tells these steps in one webhook."""
        steps = [update_data(update) for update in updates]
        data = {"channel_point": self.channel_point, "updates": steps}
        self.court.webhook(self.node, "channel.updated", data)

    def tell_preimage(self, number: int) -> None:
        """The node learned the preimage of one of its HTLCs."""
        preimage = self.sim.preimage(number)
        data = {"payment_hash": sha256(preimage).hexdigest(), "preimage": str(preimage)}
        self.court.webhook(self.node, "preimage.learned", data)

    def send(self, tx_hex: str) -> None:
        """Somebody puts a transaction into the mempool."""
        self.court.rpc("sendrawtransaction", tx_hex)


@dataclass(frozen=True, slots=True)
class Act:
    """One channel's part. `close` is played before the block of the closes; `kind` must result."""

    title: str
    channel_type: str
    kind: str
    close: Callable[[Player], None]
    #: Transactions to force into the block of the closes, past the mempool.
    mined: Callable[[Player], list[str]] | None = None
    #: What the peer does once the closes are buried.
    later: Callable[[Player], None] | None = None
    feerate_per_kw: int = 1_000


def _wait(_: Player) -> None:
    """Its part comes later."""


def _cooperative(player: Player) -> None:
    player.send(player.sim.cooperative_tx().serialize().hex())


def _remote(player: Player) -> None:
    player.tell(*player.sim.whole_move(50_000_000))
    player.send(player.sim.their_commitment_tx().serialize().hex())


def _remote_pending(player: Player) -> None:
    player.sim.move(30_000_000)
    player.tell(player.sim.propose())
    player.send(player.sim.their_commitment_tx().serialize().hex())


def _local(player: Player) -> None:
    player.tell(*player.sim.whole_move(-20_000_000))
    player.court.force_close(player.channel_point, "the peer is gone")


def _local_asked_again(player: Player) -> None:
    answers = [player.court.force_close(player.channel_point, "again") for _ in range(ASKED_TIMES)]
    outcomes = [answer["outcome"] for answer in answers]
    txids = {answer["closing_txid"] for answer in answers}
    player.note = f"{outcomes.count('accepted')} accepted, {outcomes.count('dropped')} dropped"
    if outcomes.count("accepted") != 1 or len(txids) != 1:
        player.note += " (one commitment expected)"


def _local_but_theirs(player: Player) -> None:
    player.court.force_close(player.channel_point, "a race")


def _theirs(player: Player) -> list[str]:
    return [player.sim.their_commitment_tx().serialize().hex()]


def _double_spend(player: Player) -> None:
    player.send(player.sim.their_commitment_tx().serialize().hex())
    player.court.force_close(player.channel_point, "refused as a double spend")


def _data_loss(player: Player) -> None:
    player.send(player.sim.their_commitment_tx(7).serialize().hex())


def _with_htlcs(player: Player) -> None:
    """One HTLC each way: ours will time out, the preimage of the peer's is known."""
    soon = player.court.height() + _EXPIRES_IN
    offered = player.sim.htlc(1, Direction.OFFERED, 40_000_000, soon)
    received = player.sim.htlc(2, Direction.RECEIVED, 30_000_000, soon + 40)
    player.tell(*player.sim.whole_move(0, offered, received))
    player.tell_preimage(2)


def _local_with_htlcs(player: Player) -> None:
    _with_htlcs(player)
    player.court.force_close(player.channel_point, "an HTLC is stuck")
    player.note = "one HTLC timed out, one claimed, by second-level transactions"


def _remote_with_htlcs(player: Player) -> None:
    _with_htlcs(player)
    player.send(player.sim.their_commitment_tx().serialize().hex())
    player.note = "one HTLC timed out, one claimed, directly"


def _breach(player: Player) -> None:
    _with_htlcs(player)
    player.tell(*player.sim.whole_move(10_000_000))
    player.send(player.sim.their_commitment_tx(1).serialize().hex())
    player.note = "every output taken by its revocation key"


def _will_cheat(player: Player) -> None:
    _with_htlcs(player)
    player.tell(*player.sim.whole_move(10_000_000))
    player.note = "punished at the second level too"


def _cheat_at_both_levels(player: Player) -> list[str]:
    """The revoked commitment, and at once its HTLC-success: no justice can come between."""
    sim = player.sim
    success = Peer(sim).second_level(1, 1, sim.preimage(1))
    return [tx.serialize().hex() for tx in (sim.their_commitment_tx(1), success)]


def _forward_in(player: Player) -> None:
    """The incoming half of a forward: its preimage is known when the outgoing peer shows it."""
    _hold_forwarded(player, Direction.RECEIVED, 35_500_000, _FORWARDED_EXPIRES_IN)
    player.note = "saved by a preimage seen in another channel"


def _forward_out(player: Player) -> None:
    """The outgoing half, with the same payment hash; the peer will claim on our commitment."""
    _hold_forwarded(player, Direction.OFFERED, 35_000_000, _FORWARDED_EXPIRES_IN - 40)
    player.court.force_close(player.channel_point, "the peer is gone")
    player.note = "the peer shows a preimage"


def _hold_forwarded(
    player: Player, direction: Direction, amount_msat: int, expires_in: int
) -> None:
    htlc = player.sim.htlc(1, direction, amount_msat, player.court.height() + expires_in)
    payment_hash = PaymentHash(sha256(_FORWARDED).digest())
    player.tell(*player.sim.whole_move(0, replace(htlc, payment_hash=payment_hash)))


def _claim_by_preimage(player: Player) -> None:
    player.send(Peer(player.sim).claim(1, 1, _FORWARDED).serialize().hex())


def _splice_then_close(player: Player) -> None:
    splice = player.sim.splice_tx()
    player.court.webhook(
        player.node,
        "channel.funding_replaced",
        {
            "channel_point": player.channel_point,
            "funding_outpoint": f"{splice.txid()}:0",
            "funding_txid_candidates": [str(splice.txid())],
            "capacity_sat": splice.outputs[0].value,
        },
    )
    player.send(splice.serialize().hex())
    player.note = "spliced, then closed"


def close_spliced(player: Player) -> None:
    """The second part of the splice's act: a cooperative close of the new funding output."""
    splice = player.sim.splice_tx()
    moved = SimulatedChannel(
        player.sim.seed, player.sim.channel_type, capacity_sat=splice.outputs[0].value
    )
    player.send(moved.funded(OutPoint.of(splice.txid(), 0)).cooperative_tx().serialize().hex())


#: Acts that the stage knows by title.
OUTGOING, INCOMING = "a forward, the outgoing channel", "a forward, the incoming channel"
SPIKE = "a fee spike"

ANCHORS, STATIC = ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY

ACTS: tuple[Act, ...] = (
    Act("both agreed", ANCHORS, "cooperative", _cooperative),
    Act("both agreed", STATIC, "cooperative", _cooperative),
    Act("the peer force closes", ANCHORS, "remote", _remote),
    Act("the peer force closes", STATIC, "remote", _remote),
    Act("the peer closes with its pending state", ANCHORS, "remote_pending", _remote_pending),
    Act("we force close", ANCHORS, "local", _local),
    Act("we force close", STATIC, "local", _local),
    Act(f"we ask {ASKED_TIMES} times", ANCHORS, "local", _local_asked_again),
    Act("we ask, the peer's confirms", STATIC, "remote", _local_but_theirs, _theirs),
    Act("ours is refused as a double spend", ANCHORS, "remote", _double_spend),
    Act("we lost data", ANCHORS, "data_loss", _data_loss),
    Act("HTLCs on our commitment", ANCHORS, "local", _local_with_htlcs),
    Act("HTLCs on our commitment", STATIC, "local", _local_with_htlcs),
    Act("HTLCs on the peer's", ANCHORS, "remote", _remote_with_htlcs),
    Act("HTLCs on the peer's", STATIC, "remote", _remote_with_htlcs),
    Act("a breach with HTLCs", ANCHORS, "breach", _breach),
    Act("a breach at both levels", STATIC, "breach", _will_cheat, _cheat_at_both_levels),
    Act(OUTGOING, ANCHORS, "local", _forward_out, later=_claim_by_preimage),
    Act(INCOMING, ANCHORS, "local", _forward_in),
    Act(SPIKE, ANCHORS, "local", _wait, feerate_per_kw=253),
    Act("a splice is no close", STATIC, "cooperative", _splice_then_close),
    Act("a reorg replaces the close", ANCHORS, "cooperative", _remote),
)

SPLICED = "a splice is no close"
REPLACED = "a reorg replaces the close"
