"""The court in memory: the law, a chain without consensus, and effects carried out by hand.

With `restarts=True` everything that a process could forget is forgotten after every event: the
case goes through its stored form, and every effect is carried out twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from copy import copy
from typing import assert_never

from contractcourt import codec
from contractcourt.advance import advance, open_case
from contractcourt.arbitrator import clocks
from contractcourt.arbitrator.clocks import Clock
from contractcourt.arbitrator.offer import on_offer
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.case import Case
from contractcourt.channel import FundingPubkeys, Htlc
from contractcourt.effects import (
    AskLocalPoint,
    BumpCommitment,
    Effect,
    MarkChannelClosed,
    MarkChannelReopened,
    MarkFullyResolved,
    MarkUnresolved,
    NotifyNode,
    PublishCommitment,
    PublishHtlcTransaction,
    RaiseAlarm,
    RecallRevokedState,
    RememberRevokedState,
    SharePreimage,
    SweepOutput,
    UnwatchOutpoint,
    WakeAt,
    WatchOutpoint,
)
from contractcourt.events import (
    ChannelOpened,
    ChannelUpdate,
    ChannelUpdated,
    Event,
    ForceCloseRequested,
    FundingReplaced,
    HeightReached,
    LocalPointLearned,
    PreimageLearned,
    PublishOutcome,
    RevokedStateRecalled,
    SpendConfirmed,
    SpendUnconfirmed,
    TransactionPublished,
)
from contractcourt.sweeping.drafts import Draft, FeeWallet, Shortfall, WalletCoin, draft
from contractcourt.sweeping.groups import Group
from contractcourt.sweeping.inputs import SweepInput
from contractcourt.units import (
    BlockHash,
    BlockHeight,
    FeeratePerKw,
    PaymentHash,
    Satoshi,
    Secret,
    Txid,
)
from tests.scenarios.memory_chain import MemoryBlock, MemoryChain
from tests.spent import spent
from workers.simulation.channel import SimulatedChannel

_FEERATE = FeeratePerKw(253)


class MemoryCourt:
    """One channel before the law, with the least that carries out what the law wants."""

    case: Case

    def __init__(self, *, restarts: bool = False, answer: PublishOutcome | None = None) -> None:
        self.chain = MemoryChain()
        self.docket: list[Event] = []
        self.publish_answer = answer
        self.closed_in_database = False
        self._effects: list[Effect] = []
        self._notices: dict[int, NotifyNode] = {}
        self._watches: set[OutPoint] = set()
        self._deadlines: set[Clock] = set()
        self._seen: set[tuple[OutPoint, Txid, BlockHash]] = set()
        self._commitments: set[Txid] = set()
        self._revoked: dict[int, tuple[Htlc, ...]] = {}
        self._broadcasts: dict[Txid, Transaction] = {}
        self._restarts = restarts

    # -- what a story does --

    def begin(self, sim: SimulatedChannel) -> None:
        self._sim = sim.funded(OutPoint.of(Txid(hashlib.sha256(sim.seed.encode()).digest()), 0))
        opened = ChannelOpened(sim.channel)
        verdict = open_case(opened)
        self.docket.append(opened)
        self.case = verdict.case
        self._carry_out(verdict.effects)
        self.tell(sim.first_update())

    def tell(self, *updates: ChannelUpdate) -> None:
        self.hear(ChannelUpdated(updates, forgets=True))

    def tell_splice(self, splice: Transaction, pubkeys: FundingPubkeys | None = None) -> None:
        outpoint = OutPoint.of(splice.txid(), 0)
        capacity = Satoshi(splice.outputs[0].value)
        self.hear(FundingReplaced(outpoint, (splice.txid(),), capacity, pubkeys))

    def import_splice_key(self, spliced: SimulatedChannel) -> None:
        """Nobody signs here."""

    def tell_splice_txid(self, splice: Transaction) -> None:
        self.hear(FundingReplaced(None, (splice.txid(),)))

    def tell_preimage(self, preimage: Secret) -> None:
        digest = PaymentHash(hashlib.sha256(preimage).digest())
        self.hear(PreimageLearned(digest, preimage))

    def force_close(self) -> Txid | None:
        self.hear(ForceCloseRequested("2026-01-01T00:00:00Z", "operator", "a story"))
        return self.case.force_close.txid if self.case.force_close else None

    def broadcast(self, tx: Transaction) -> None:
        self.chain.mempool[tx.txid()] = tx

    def refuse_publishing(self, refuse: bool) -> None:
        self.publish_answer = PublishOutcome.POLICY if refuse else None

    def forget_revoked_states(self) -> None:
        """What was remembered of revoked commitments is gone."""
        self._revoked.clear()

    def restart(self) -> None:
        self.case = codec.decode(codec.encode(self.case), Case)

    def mine(self, count: int = 1) -> None:
        for _ in range(count):
            self._rebroadcast()
            self._follow(self.chain.connect([*self.chain.mempool.values()]))

    def jump(self, count: int) -> None:
        """So many blocks come in one look: the first with the mempool, deadlines told once."""
        self._rebroadcast()
        blocks = [self.chain.connect([*self.chain.mempool.values()])]
        blocks += [self.chain.connect() for _ in range(count - 1)]
        for tx in blocks[0].transactions:
            for item in tx.inputs:
                if item.outpoint in self._watches:
                    self.hear(self._spend(blocks[0], item.outpoint, tx))
        self._fire_due(blocks[-1])

    def reorg(self, depth: int, transactions: Iterable[Transaction] = ()) -> None:
        for _ in range(depth):
            gone = self.chain.disconnect()
            for outpoint, txid, block_hash in sorted(self._seen):
                if block_hash == gone.hash:
                    self._seen.discard((outpoint, txid, block_hash))
                    self.hear(SpendUnconfirmed(outpoint, txid, gone.hash, self.chain.height))
        self._follow(self.chain.connect(transactions))
        for _ in range(depth):
            self._follow(self.chain.connect())

    def hear(self, event: Event) -> None:
        """Put one event before the law."""
        verdict = advance(self.case, event)
        self.docket.append(event)
        self._deadlines -= clocks.stopped([self.case, verdict.case])
        self.case = verdict.case
        if self._restarts:
            self.case = codec.decode(codec.encode(self.case), Case)
            self._carry_out(verdict.effects)
        self._carry_out(verdict.effects)

    def fork(self) -> MemoryCourt:
        """The same world once more; what happens to one does not happen to the other."""
        other = copy(self)
        other.chain = self.chain.fork()
        other.docket = list(self.docket)
        other._effects = list(self._effects)
        other._notices = dict(self._notices)
        other._watches = set(self._watches)
        other._deadlines = set(self._deadlines)
        other._seen = set(self._seen)
        other._commitments = set(self._commitments)
        other._revoked = dict(self._revoked)
        other._broadcasts = dict(self._broadcasts)
        return other

    def facts(self) -> Iterator[bytes]:
        """What distinguishes this world from another with the same case."""
        yield self.chain.height.to_bytes(4, "big")
        yield b"".join(sorted(self.chain.mempool))
        yield b"".join(tx.txid() for block in self.chain.blocks for tx in block.transactions)
        yield b"".join(sorted(self._watches))
        yield b"".join(height.to_bytes(4, "big") for height in sorted(self.deadlines))
        yield b"".join(sorted(self._broadcasts))
        yield b"".join(sorted(self._commitments))
        yield repr((self.publish_answer, self.closed_in_database)).encode()

    # -- what a story asks --

    def in_mempool(self, txid: Txid) -> bool:
        return txid in self.chain.mempool

    @property
    def height(self) -> BlockHeight:
        return self.chain.height

    @property
    def deadlines(self) -> frozenset[int]:
        """Heights at which the case asked to be woken."""
        return frozenset(height for height, _ in self._deadlines)

    @property
    def state(self) -> str:
        return self.case.state.value

    @property
    def close_kind(self) -> str | None:
        spend = self.case.funding_spend
        return spend.kind.value if spend is not None and self.case.closed else None

    @property
    def contract_stages(self) -> dict[str, str]:
        return {c.kind.value: c.stage.value for c in self.case.contracts}

    @property
    def published_commitments(self) -> int:
        return len(self._commitments)

    def notices(self) -> list[NotifyNode]:
        """What the node was told, in order; a doubled one once."""
        return list(self._notices.values())

    def told(self, event_type: str) -> list[dict[str, object]]:
        # A node drops a doubled message by its id; here that is the effect itself.
        return [e.data for e in self.notices() if e.event_type == event_type]

    def alarms(self) -> set[str]:
        return {effect.kind for effect in self._effects if isinstance(effect, RaiseAlarm)}

    @property
    def effects(self) -> list[Effect]:
        """Everything that the law wanted, in order."""
        return list(self._effects)

    @property
    def sent(self) -> list[Transaction]:
        """Every transaction of ours, unsigned, in order."""
        return list(self._broadcasts.values())

    def is_watched(self, outpoint: OutPoint) -> bool:
        """Whether a spend of this outpoint would be told."""
        return outpoint in self._watches

    # -- effects --

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        later: list[Event] = []
        for effect in effects:
            self._effects.append(effect)
            later += self._carry_out_one(effect)
        for event in later:
            self.hear(event)

    def _carry_out_one(self, effect: Effect) -> list[Event]:
        match effect:
            case WatchOutpoint():
                self._watches.add(effect.outpoint)
                return self._look_back(effect.outpoint)
            case UnwatchOutpoint():
                self._watches.discard(effect.outpoint)
                self._seen = {s for s in self._seen if s[0] != effect.outpoint}
            case WakeAt():
                self._deadlines.add((effect.height, effect.reason))
            case PublishCommitment():
                self._commitments.add(effect.commitment.txid)
                return [self._publish(Transaction.parse(effect.commitment.tx))]
            case SweepOutput():
                drafted = self._draft(effect)
                return [self._publish(drafted.tx)] if isinstance(drafted, Draft) else []
            case PublishHtlcTransaction():
                return [self._publish(Transaction.parse(effect.tx))]
            case RememberRevokedState():
                self._revoked[effect.number] = effect.htlcs
            case RecallRevokedState():
                htlcs = self._revoked.get(effect.number, ())
                return [RevokedStateRecalled(effect.number, htlcs)]
            case AskLocalPoint():
                point = self._sim.ours.point(effect.number)
                return [LocalPointLearned(effect.number, point)]
            case MarkChannelClosed():
                self.closed_in_database = True
            case MarkChannelReopened():
                self.closed_in_database = False
            case MarkFullyResolved():
                assert self.closed_in_database, "resolved before it was closed"
            case NotifyNode():
                self._notices[id(effect)] = effect
            case BumpCommitment() | MarkUnresolved() | RaiseAlarm() | SharePreimage():
                pass
            case unreachable:
                assert_never(unreachable)
        return []

    def _draft(self, effect: SweepOutput) -> Draft | Shortfall:
        """Alone, and with a coin of its own where the fee wallet has to pay."""
        item = SweepInput(
            self.case.channel, effect, BlockHeight(0), self.case.policy.max_feerate_per_kw, _FEERATE
        )
        txid = Txid(hashlib.sha256(effect.contract.outpoint).digest())
        coin = WalletCoin(OutPoint.of(txid, 0), Satoshi(100_000), effect.sweep_script, 0)
        wallet = FeeWallet((coin,), effect.sweep_script)
        return draft(Group.alone(item, _FEERATE), wallet, _FEERATE)

    def _rebroadcast(self) -> None:
        for txid, tx in [*self._broadcasts.items()]:
            if txid in self._commitments and on_offer(self.case) != txid:
                del self._broadcasts[txid]
            elif (
                self.chain.spender(tx.inputs[0].outpoint) is None and txid not in self.chain.mempool
            ):
                self.hear(self._publish(tx))

    def _publish(self, tx: Transaction) -> TransactionPublished:
        txid = tx.txid()
        self._broadcasts[txid] = tx
        if self.publish_answer is not None:
            return TransactionPublished(txid, self.publish_answer, "as the story wants")
        if self.chain.conflict(tx):
            return TransactionPublished(txid, PublishOutcome.DOUBLE_SPEND, "txn-mempool-conflict")
        if self.chain.spender(tx.inputs[0].outpoint) is not None:
            return TransactionPublished(txid, PublishOutcome.ALREADY_KNOWN)
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
                if item.outpoint in self._watches:
                    self.hear(self._spend(block, item.outpoint, tx))
        self._fire_due(block)

    def _fire_due(self, block: MemoryBlock) -> None:
        due = {clock for clock in self._deadlines if clock[0] <= block.height}
        self._deadlines -= due
        if due:
            self.hear(HeightReached(block.height))

    def _spend(self, block: MemoryBlock, outpoint: OutPoint, tx: Transaction) -> SpendConfirmed:
        self._seen.add((outpoint, tx.txid(), block.hash))
        return spent(
            outpoint, tx, block.height, block_hash=block.hash, tip_height=self.chain.height
        )
