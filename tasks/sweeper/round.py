"""One round of sweeping for one node: tend what is out, then send what is free.

An urgent round looks at what has a deadline alone, the others at all the rest.

Every open sweep is sent again or outbid, and taken apart when a part of it is contested. What no
open sweep spends is grouped, tried on the Bitcoin node, and only then stored and sent; a group
that is refused is halved until the member is found that is to blame (users_ask L6, L7).
"""

from __future__ import annotations

from collections.abc import Sequence

from contractcourt.alarms import AlarmKind
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.effects import BumpCommitment
from contractcourt.events import PublishOutcome
from contractcourt.sweeping.drafts import Replaced, Shortfall, rate
from contractcourt.sweeping.groups import Group, gather
from contractcourt.sweeping.inputs import SweepInput, limit, parent_fee, parent_weight
from contractcourt.sweeping.market import Market
from contractcourt.units import BlockHeight, FeeratePerKw, Satoshi
from storage import broadcasts, sweep_inputs
from storage.broadcasts import BUMP, SWEEP, Broadcast, SpentInput
from storage.database import Connection
from storage.sweep_inputs import StoredSweep
from tasks.crash_points import CrashPoint, reach
from tasks.resources import Resources
from tasks.sending import TAKEN, send
from tasks.sweeper import findings
from tasks.sweeper.attempt import Attempt, NotSigned, attempt
from tasks.sweeper.findings import Findings
from tasks.sweeper.wallet import NodeWallet

#: A replacement for less than a twentieth more is not worth its relay.
_STEP_PERCENT = 105
#: What a contested output is offered from one try to the next.
_CONTEST_PERCENT = 150

#: Somebody else spends a part of it, or a part of it is gone.
_CONTESTED = frozenset({PublishOutcome.DOUBLE_SPEND, PublishOutcome.MISSING_INPUTS})
#: Its own fault, or that of one of its inputs.
_FAULTY = frozenset({PublishOutcome.POLICY, PublishOutcome.INVALID, PublishOutcome.UNKNOWN})
#: A local matter of the node that was asked, perhaps of its test alone (users_ask B8).
_LOCAL = frozenset({PublishOutcome.POLICY, PublishOutcome.UNKNOWN})


class SweepRound:
    """The round. Raises SignerUnavailable or ChainError when it has to be done again."""

    def __init__(
        self,
        held: Resources,
        node: str,
        height: BlockHeight,
        market: Market,
        *,
        urgent: bool = False,
    ) -> None:
        self._held = held
        self._node = node
        self._urgent = urgent
        self._height = height
        self._market = market
        self._wallet = held.db.run(lambda conn: NodeWallet.read(conn, node))
        self._findings = Findings(held, node)
        self._stored: dict[OutPoint, StoredSweep] = {}

    def run(self) -> None:
        """Tend, then sweep."""
        self._held.db.run(broadcasts.settle)
        for broadcast in self._held.db.run(self._to_tend):
            self._tend(broadcast)
            reach(CrashPoint.SWEEP_TENDED)
        self._sweep_what_is_free()

    # -- what is out --

    def _to_tend(self, conn: Connection) -> list[Broadcast]:
        return broadcasts.to_tend(conn, self._node, urgent=self._urgent)

    def _tend(self, out: Broadcast) -> None:
        members = self._held.db.run(lambda conn: sweep_inputs.these(conn, out.inputs))
        self._remember(members)
        if not members or out.last_outcome in _CONTESTED | _FAULTY:
            self._take_back(out, members)
        elif not self._outbid(out, [stored.input for stored in members]):
            send(self._held, [out])

    def _take_back(self, out: Broadcast, members: Sequence[StoredSweep]) -> None:
        """It can't confirm as it is: what is still wanted of it is free again, each by itself."""

        def take_back(conn: Connection) -> None:
            broadcasts.abandon(conn, out.id)
            if len(members) > 1:
                sweep_inputs.take_apart(conn, [stored.outpoint for stored in members])

        self._held.db.run(take_back)

    def _outbid(self, out: Broadcast, members: Sequence[SweepInput]) -> bool:
        """Replace it by a better offer, when one is due, affordable and taken."""
        groups = gather(members, self._market, self._height).groups
        if not groups or out.fee_sat is None or out.feerate_per_kw is None:
            return False
        group = groups[0]
        refused = out.last_outcome is PublishOutcome.FEE_TOO_LOW
        if group.feerate_per_kw * 100 < out.feerate_per_kw * _STEP_PERCENT and not refused:
            return False
        replaced = Replaced(out.fee_sat, self._market.incremental)
        wallet = self._wallet.at(self._height, out)
        made = attempt(self._held, group, wallet, self._market, replaced)
        if not isinstance(made, Attempt) or made.verdict.outcome not in TAKEN:
            return False
        return self._store_and_send(made, out)

    # -- what is free --

    def _sweep_what_is_free(self) -> None:
        free = self._held.db.run(self._free)
        self._remember(free)
        alone = {stored.outpoint for stored in free if stored.alone}
        inputs = [stored.input for stored in free]
        gathered = gather(inputs, self._market, self._height, alone)
        for item in gathered.waiting:
            self._findings.waits(self._stored[item.outpoint], item, self._market, self._height)
        for group in gathered.groups:
            if _pays_enough_by_itself(group):
                self._findings.note(group, "our commitment pays enough by itself")
            else:
                self._carry(group)

    def _free(self, conn: Connection) -> list[StoredSweep]:
        return sweep_inputs.free(conn, self._node, urgent=self._urgent)

    def _carry(self, group: Group) -> None:
        made = attempt(self._held, group, self._wallet.at(self._height), self._market)
        match made:
            case Shortfall():
                self._findings.short(self._rows(group), group, made)
            case NotSigned():
                self._narrow_down(group, made.reason, faulty=made.lasting)
            case Attempt():
                self._judge(group, made)

    def _judge(self, group: Group, made: Attempt) -> None:
        reach(CrashPoint.SWEEP_TRIED)
        outcome, reason = made.verdict.outcome, made.verdict.reason
        if outcome in TAKEN:
            self._store_and_send(made)
        elif len(group.members) > 1:
            self._narrow_down(group, reason, faulty=outcome in _FAULTY)
        elif outcome in _LOCAL:
            self._send_all_the_same(group, made)
        elif outcome in _FAULTY:
            self._findings.quarantine(self._rows(group)[0], reason)
        elif outcome in (PublishOutcome.DOUBLE_SPEND, PublishOutcome.FEE_TOO_LOW):
            self._raise_the_offer(group, reason)
        else:
            self._findings.note(group, reason)

    def _narrow_down(self, group: Group, reason: str, *, faulty: bool) -> None:
        """Halve it; of a single one say what is wrong with it."""
        if len(group.members) > 1:
            for half in group.halves():
                self._carry(half)
        elif faulty:
            self._findings.quarantine(self._rows(group)[0], reason)
        else:
            message = f"{group.members[0].outpoint} of {group.value_in_sat} sat: {reason}"
            self._findings.alarm(self._rows(group), AlarmKind.NOT_SIGNED, message)

    def _raise_the_offer(self, group: Group, reason: str) -> None:
        """Somebody else's transaction holds it in the mempool: outbid that, within the budget."""
        most = limit(group.members[0])
        if group.feerate_per_kw >= most:
            message = f"{group.members[0].outpoint}: its whole budget is not enough: {reason}"
            self._findings.alarm(self._rows(group), AlarmKind.CONTESTED, message)
            return
        higher = group.feerate_per_kw * _CONTEST_PERCENT // 100
        self._carry(Group(group.kind, group.members, FeeratePerKw(min(most, higher))))

    def _send_all_the_same(self, group: Group, made: Attempt) -> None:
        """A test may be wrong where the real thing is taken: its word counts."""
        if not self._store_and_send(made):
            return
        sent = self._held.db.run(lambda conn: broadcasts.find(conn, made.signed.txid))
        if sent is not None and sent.last_outcome in _FAULTY:
            self._held.db.run(lambda conn: broadcasts.abandon(conn, sent.id))
            self._findings.quarantine(self._rows(group)[0], sent.last_reason or "refused")

    # -- storing --

    def _store_and_send(self, made: Attempt, replaced: Broadcast | None = None) -> bool:
        stored = self._held.db.run(lambda conn: self._store(conn, made, replaced))
        if stored is None:
            return False
        reach(CrashPoint.SWEEP_STORED)
        self._wallet.take(made.draft.coins)
        send(self._held, [stored])
        reach(CrashPoint.SWEEP_SENT)
        return True

    def _store(
        self, conn: Connection, made: Attempt, replaced: Broadcast | None
    ) -> Broadcast | None:
        """Stored with the old one given up; None when something has changed meanwhile.

        The rows are held, so that no other round stores a transaction for them.
        """
        members = made.draft.group.members
        spent = self._spent_inputs(made)
        held = sweep_inputs.lock(conn, [member.outpoint for member in members])
        taken = broadcasts.spending(conn, [one.outpoint for one in spent], besides=replaced)
        parent = made.parent_txid
        orphan = parent is not None and broadcasts.find(conn, parent) is None
        if len(held) != len(members) or taken or orphan:
            return None
        if replaced is not None:
            broadcasts.abandon(conn, replaced.id)
        offered = {m.outpoint: min(limit(m), made.draft.feerate_per_kw) for m in members}
        sweep_inputs.offered(conn, offered)
        findings.clear(conn, [row.channel_id for row in held])
        stored = broadcasts.insert(
            conn,
            held[0].channel_id,
            purpose=SWEEP if parent is None else BUMP,
            txid=made.signed.txid,
            raw_tx=made.signed.tx,
            inputs=spent,
            price=made.price,
            parent_txid=parent,
            urgent=self._urgent,
        )
        reach(CrashPoint.SWEEP_BEFORE_COMMIT)
        return stored

    def _spent_inputs(self, made: Attempt) -> list[SpentInput]:
        members = zip(made.draft.group.members, made.draft.shares, strict=True)
        return [
            *(SpentInput(m.outpoint, self._stored[m.outpoint].channel_id, f) for m, f in members),
            *(SpentInput(coin.outpoint, None, Satoshi(0)) for coin in made.draft.coins),
        ]

    def _remember(self, stored: Sequence[StoredSweep]) -> None:
        self._stored.update({one.outpoint: one for one in stored})

    def _rows(self, group: Group) -> list[StoredSweep]:
        return [self._stored[member.outpoint] for member in group.members]


def _pays_enough_by_itself(group: Group) -> bool:
    item = group.members[0]
    if not isinstance(item.want, BumpCommitment):
        return False
    commitment = item.want.commitment
    own = rate(parent_fee(item.channel, commitment), parent_weight(commitment))
    return own >= group.feerate_per_kw
