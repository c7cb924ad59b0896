"""The court in memory: the law, a chain without consensus, and effects carried out by hand.

With `restarts=True` everything that a process could forget is forgotten after every event: the
case goes through its stored form, and every effect is carried out twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from contractcourt import codec
from contractcourt.advance import advance, open_case
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.case import Case
from contractcourt.channel import Channel
from contractcourt.effects import (
    AskLocalPoint,
    Effect,
    MarkChannelClosed,
    MarkChannelReopened,
    MarkFullyResolved,
    MarkUnresolved,
    NotifyNode,
    PublishCommitment,
    RaiseAlarm,
    SweepOutput,
    UnwatchOutpoint,
    WakeAt,
    WatchOutpoint,
)
from contractcourt.errors import LawError
from contractcourt.events import (
    ChannelOpened,
    Event,
    HeightReached,
    LocalPointLearned,
    PublishOutcome,
    SpendConfirmed,
    SpendUnconfirmed,
    TransactionPublished,
)
from contractcourt.units import FeeratePerKw, HexBytes, PublicKey, Txid
from tests.scenarios.memory_chain import MemoryBlock, MemoryChain


class MemoryCourt:
    """One channel before the law, with the least that carries out what the law wants."""

    def __init__(
        self,
        channel: Channel,
        local_point: Callable[[int], PublicKey],
        sweep: Callable[[SweepOutput, FeeratePerKw], Transaction],
        *,
        restarts: bool = False,
    ) -> None:
        self.chain = MemoryChain()
        self.docket: list[Event] = []
        self.effects: list[Effect] = []
        self.watches: set[OutPoint] = set()
        self.alarm_clock: set[int] = set()
        self.refuse_publish: PublishOutcome | None = None
        self.published: list[Txid] = []
        self.closed = False
        self.resolved = False
        self._local_point = local_point
        self._sweep = sweep
        self._restarts = restarts
        self._seen: set[tuple[OutPoint, Txid, bytes]] = set()
        opened = ChannelOpened(channel)
        verdict = open_case(opened)
        self.docket.append(opened)
        self.case = verdict.case
        self._carry_out(verdict.effects)

    # -- what a story does --

    def hear(self, event: Event) -> None:
        """Put one event before the law. A LawError changes nothing and is the story's to expect."""
        verdict = advance(self.case, event)
        self.docket.append(event)
        self.case = verdict.case
        if self._restarts:
            self.case = codec.decode(codec.encode(self.case), Case)
            self._carry_out(verdict.effects)
        self._carry_out(verdict.effects)

    def mine(self, count: int = 1, transactions: Iterable[Transaction] | None = None) -> None:
        """Mine blocks; the first holds `transactions`, or whatever the mempool has."""
        for _ in range(count):
            chosen = list(self.chain.mempool.values()) if transactions is None else [*transactions]
            self._follow(self.chain.connect(chosen))
            transactions = None

    def reorg(self, depth: int, transactions: Iterable[Transaction] = ()) -> None:
        """Replace the last `depth` blocks by one more, the first holding `transactions`."""
        for _ in range(depth):
            gone = self.chain.disconnect()
            for outpoint, txid, block_hash in sorted(self._seen):
                if block_hash == gone.hash:
                    self._seen.discard((outpoint, txid, block_hash))
                    self.hear(SpendUnconfirmed(outpoint, txid, gone.hash, self.chain.height))
        self.mine(1, transactions)
        self.mine(depth)

    def expect_refusal(self, event: Event, error: type[LawError]) -> None:
        """This event must be refused, and change nothing."""
        before = self.case
        try:
            advance(self.case, event)
        except error:
            assert self.case == before
            return
        raise AssertionError(f"{type(event).__name__} was not refused")

    # -- what a story asks --

    def notifications(self, event_type: str) -> list[dict[str, object]]:
        """What the node was told under this type, repetitions left out, in order."""
        told: list[dict[str, object]] = []
        for effect in self.effects:
            if isinstance(effect, NotifyNode) and effect.event_type == event_type:
                told.append(effect.data)
        return told

    def alarms(self) -> set[str]:
        """The kinds of alarm raised so far."""
        return {effect.kind for effect in self.effects if isinstance(effect, RaiseAlarm)}

    # -- effects --

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        later: list[Event] = []
        for effect in effects:
            self.effects.append(effect)
            match effect:
                case WatchOutpoint():
                    self.watches.add(effect.outpoint)
                    later += self._look_back(effect.outpoint)
                case UnwatchOutpoint():
                    self.watches.discard(effect.outpoint)
                    self._seen = {s for s in self._seen if s[0] != effect.outpoint}
                case WakeAt():
                    self.alarm_clock.add(effect.height)
                case PublishCommitment():
                    later.append(self._publish(Transaction.parse(effect.commitment.tx)))
                case SweepOutput():
                    later.append(self._publish(self._sweep(effect, FeeratePerKw(253))))
                case AskLocalPoint():
                    point = self._local_point(effect.number)
                    later.append(LocalPointLearned(effect.number, point))
                case MarkChannelClosed():
                    self.closed = True
                case MarkChannelReopened():
                    self.closed = self.resolved = False
                case MarkFullyResolved():
                    assert self.closed, "resolved before it was closed"
                    self.resolved = True
                case MarkUnresolved():
                    self.resolved = False
                case NotifyNode() | RaiseAlarm():
                    pass
        for event in later:
            self.hear(event)

    def _publish(self, tx: Transaction) -> TransactionPublished:
        txid = tx.txid()
        if self.refuse_publish is not None:
            return TransactionPublished(txid, self.refuse_publish, "as the story wants")
        if self.chain.conflict(tx):
            return TransactionPublished(txid, PublishOutcome.DOUBLE_SPEND, "txn-mempool-conflict")
        self.published.append(txid)
        self.chain.mempool[txid] = tx
        return TransactionPublished(txid, PublishOutcome.ACCEPTED)

    # -- the watcher --

    def _look_back(self, outpoint: OutPoint) -> list[Event]:
        found = self.chain.spender(outpoint)
        if found is None or (outpoint, found[1].txid(), found[0].hash) in self._seen:
            return []
        return [self._spend(found[0], outpoint, found[1])]

    def _follow(self, block: MemoryBlock) -> None:
        for tx in block.transactions:
            for item in tx.inputs:
                if item.outpoint in self.watches:
                    self.hear(self._spend(block, item.outpoint, tx))
        due = {height for height in self.alarm_clock if height <= block.height}
        self.alarm_clock -= due
        if due:
            self.hear(HeightReached(block.height))

    def _spend(self, block: MemoryBlock, outpoint: OutPoint, tx: Transaction) -> SpendConfirmed:
        self._seen.add((outpoint, tx.txid(), block.hash))
        return SpendConfirmed(
            outpoint=outpoint,
            txid=tx.txid(),
            tx=HexBytes(tx.serialize()),
            height=block.height,
            block_hash=block.hash,
            tip_height=self.chain.height,
        )
