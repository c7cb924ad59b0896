"""Everything that may happen next to a world: the alphabet of the walks."""

from __future__ import annotations

from contractcourt.bitcoin.transaction import Transaction
from contractcourt.contract import ContractStage
from contractcourt.events import (
    ChannelUpdate,
    PolicyChanged,
    PublishOutcome,
    SpendSeen,
    SweepGivenUp,
)
from contractcourt.policy import Policy
from contractcourt.units import Blocks, HexBytes
from tests.model.world import Action, Prepared
from tests.scenarios.memory import MemoryCourt

#: Earlier on chain and earlier resolved than by default.
_OTHER_POLICY = Policy(
    incoming_broadcast_delta=Blocks(24), outgoing_broadcast_delta=Blocks(6), final_depth=Blocks(4)
)


def _publish(which: str) -> Action:
    """The peer's, or both sides', transactions enter the mempool where the chain takes them."""

    def act(court: MemoryCourt, could: Prepared) -> None:
        moves: tuple[Transaction, ...] = getattr(could, which)
        for tx in moves:
            outpoint = tx.inputs[0].outpoint
            root = outpoint == could.splice[0].inputs[0].outpoint
            if (root or court.chain.made(outpoint)) and court.chain.takes(tx):
                court.broadcast(tx)

    return act


def _peer_times_out(court: MemoryCourt, could: Prepared) -> None:
    if court.height >= could.expiry:
        _publish("timeouts")(court, could)


def _tell(which: str) -> Action:
    def act(court: MemoryCourt, could: Prepared) -> None:
        told: ChannelUpdate = getattr(could, which)
        court.tell(told)

    return act


def _again(court: MemoryCourt, _: Prepared) -> None:
    """The last event is delivered a second time."""
    court.hear(court.docket[-1])


def _all_again(court: MemoryCourt, _: Prepared) -> None:
    """The node tells its channel from the beginning, as after a lost answer."""
    court.hear(court.docket[1])
    court.hear(court.docket[2])


def _seen(court: MemoryCourt, _: Prepared) -> None:
    """The watcher looks into the mempool."""
    for txid, tx in [*court.chain.mempool.items()]:
        for item in tx.inputs:
            if court.is_watched(item.outpoint):
                court.hear(SpendSeen(item.outpoint, txid, HexBytes(tx.serialize())))


def _force_close(court: MemoryCourt, _: Prepared) -> None:
    court.force_close()


def _given_up(court: MemoryCourt, _: Prepared) -> None:
    """The sweeper gives up the first output that waits for it."""
    for contract in court.case.contracts:
        if contract.stage is ContractStage.SWEEPING:
            court.hear(SweepGivenUp(contract.outpoint, "too small"))
            return


def _reorg(depth: int) -> Action:
    def act(court: MemoryCourt, _: Prepared) -> None:
        court.reorg(min(depth, len(court.chain.blocks)))

    return act


def _answers(outcome: PublishOutcome | None) -> Action:
    def act(court: MemoryCourt, _: Prepared) -> None:
        court.publish_answer = outcome

    return act


ACTIONS: dict[str, Action] = {
    "mine": lambda court, _: court.mine(),
    "mine 6": lambda court, _: court.mine(6),
    "jump 30": lambda court, _: court.jump(30),
    "reorg 1": _reorg(1),
    "reorg 7": _reorg(7),
    "force close": _force_close,
    "preimage": lambda court, could: court.tell_preimage(could.preimage),
    "policy": lambda court, _: court.hear(PolicyChanged(_OTHER_POLICY)),
    "propose": _tell("propose"),
    "revoke": _tell("revoke"),
    "accept": _tell("accept"),
    "splice told": lambda court, could: court.tell_splice(could.splice[0], could.splice_pubkeys),
    "splice signed": _tell("spliced"),
    "splice": _publish("splice"),
    "theirs": _publish("theirs"),
    "pending": _publish("pending"),
    "revoked": _publish("revoked"),
    "future": _publish("future"),
    "cooperative": _publish("cooperative"),
    "rogue": _publish("rogue"),
    "peer claims": _publish("claims"),
    "peer times out": _peer_times_out,
    "seen": _seen,
    "given up": _given_up,
    "again": _again,
    "all again": _all_again,
    "restart": lambda court, _: court.restart(),
    "refused": _answers(PublishOutcome.POLICY),
    "unknown": _answers(PublishOutcome.UNKNOWN),
    "fee too low": _answers(PublishOutcome.FEE_TOO_LOW),
    "double spend": _answers(PublishOutcome.DOUBLE_SPEND),
    "accepted": _answers(None),
}
