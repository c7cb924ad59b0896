"""One round of sweeping for one node: tend what is out, then send what is free.

An urgent round looks at what has a deadline alone, the others at all the rest.

Every open sweep is sent again or outbid, and taken apart when a part of it is contested. What no
open sweep spends is grouped, tried on the Bitcoin node, and only then stored and sent; a group
that is refused is halved until the member is found that is to blame (users_ask L6, L7).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial

from contractcourt.alarms import AlarmKind
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.effects import BumpCommitment
from contractcourt.events import PublishOutcome
from contractcourt.sweeping.drafts import Replaced, Shortfall, rate
from contractcourt.sweeping.groups import Group, gather
from contractcourt.sweeping.inputs import SweepInput, limit, parent_fee, parent_weight
from contractcourt.sweeping.market import Market
from contractcourt.units import BlockHeight, FeeratePerKw, Satoshi
from storage import broadcasts, signed, sweep_inputs
from storage.broadcasts import BUMP, SWEEP, Broadcast
from storage.database import Connection
from storage.signed import Signed, SpentInput
from storage.sweep_inputs import StoredSweep
from tasks.crash_points import CrashPoint, reach
from tasks.resources import Resources
from tasks.sending import TAKEN, send
from tasks.signer_client import SignerUnavailable
from tasks.sweeper import findings
from tasks.sweeper.attempt import Attempt, NotSigned, Ready, make, try_all
from tasks.sweeper.findings import Findings
from tasks.sweeper.wallet import NodeWallet

#: A replacement for less than a twentieth more is not worth its relay.
_STEP_PERCENT = 105
#: What a contested output is offered from one try to the next.
_CONTEST_PERCENT = 150

#: Transactions signed, tried, stored and sent together.
_AT_ONCE = 20

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
        self._tend_what_is_out()
        self._sweep_what_is_free()

    # -- what is out --

    def _tend_what_is_out(self) -> None:
        out, wanted = self._held.db.run(self._to_tend)
        again = []
        for broadcast in out:
            members = [wanted[outpoint] for outpoint in broadcast.inputs if outpoint in wanted]
            if not members or broadcast.last_outcome in _CONTESTED | _FAULTY:
                self._take_back(broadcast, members)
            elif not self._outbid(broadcast, [stored.input for stored in members]):
                again.append(broadcast)
            reach(CrashPoint.SWEEP_TENDED)
        for start in range(0, len(again), _AT_ONCE):
            send(self._held, again[start : start + _AT_ONCE])

    def _to_tend(self, conn: Connection) -> tuple[list[Broadcast], dict[OutPoint, StoredSweep]]:
        """With what is still wanted of all that they spend."""
        out = broadcasts.to_tend(conn, self._node, urgent=self._urgent)
        spent = [outpoint for broadcast in out for outpoint in broadcast.inputs]
        wanted = sweep_inputs.these(conn, spent) if spent else []
        self._remember(wanted)
        return out, {stored.outpoint: stored for stored in wanted}

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
        made = make(self._held, group, wallet, self._market, replaced)
        if not isinstance(made, Ready):
            return False
        tried = try_all(self._held, [made])
        return tried[0].verdict.outcome in TAKEN and self._store_and_send(tried, out)

    # -- what is free --

    def _sweep_what_is_free(self) -> None:
        page = self._held.db.run(partial(self._free, after=None))
        while page:
            self._sweep(page)
            page = self._held.db.run(partial(self._free, after=page[-1]))

    def _free(self, conn: Connection, after: StoredSweep | None) -> list[StoredSweep]:
        return sweep_inputs.free(conn, self._node, urgent=self._urgent, after=after)

    def _sweep(self, free: Sequence[StoredSweep]) -> None:
        self._remember(free)
        alone = {stored.outpoint for stored in free if stored.alone}
        inputs = [stored.input for stored in free]
        gathered = gather(inputs, self._market, self._height, alone)
        waiting = [(self._stored[item.outpoint], item) for item in gathered.waiting]
        self._findings.wait(waiting, self._market, self._height)
        enough = [group for group in gathered.groups if _pays_enough_by_itself(group)]
        self._findings.note(enough, "our commitment pays enough by itself")
        self._carry([group for group in gathered.groups if not _pays_enough_by_itself(group)])

    def _carry(self, groups: Sequence[Group]) -> None:
        """So many at a time, the most pressing first, and what becomes of those before the next."""
        left = deque(groups)
        while left:
            batch = [left.popleft() for _ in range(min(len(left), _AT_ONCE))]
            left.extendleft(reversed(self._attempt(batch)))

    def _attempt(self, groups: Sequence[Group]) -> list[Group]:
        """Sign, try, store and send these; the groups that are to be tried in their place.

        A signer that goes away stops only what it has not signed yet.
        """
        ready: list[Ready] = []
        next_ones: list[Group] = []
        away: SignerUnavailable | None = None
        wallet = self._wallet.at(self._height)
        for group in groups:
            try:
                made = make(self._held, group, wallet, self._market)
            except SignerUnavailable as error:
                away = error
                break
            match made:
                case Shortfall():
                    self._findings.short(self._rows(group), group, made)
                case NotSigned():
                    next_ones += self._narrow_down(group, made.reason, faulty=made.lasting)
                case Ready():
                    ready.append(made)
                    wallet = wallet.without(made.draft.coins)
        tried = try_all(self._held, ready)
        reach(CrashPoint.SWEEP_TRIED)
        self._store_and_send([one for one in tried if one.verdict.outcome in TAKEN])
        for one in tried:
            next_ones += self._judge(one)
        if away is not None:
            raise away
        return next_ones

    def _judge(self, made: Attempt) -> Sequence[Group]:
        """What to try instead of a transaction that was not taken."""
        outcome, reason, group = made.verdict.outcome, made.verdict.reason, made.draft.group
        if outcome in TAKEN:
            return ()
        if len(group.members) > 1:
            return self._narrow_down(group, reason, faulty=outcome in _FAULTY)
        if outcome in _LOCAL:
            self._send_all_the_same(group, made)
        elif outcome in _FAULTY:
            self._findings.quarantine(self._rows(group)[0], reason)
        elif outcome in (PublishOutcome.DOUBLE_SPEND, PublishOutcome.FEE_TOO_LOW):
            return self._raise_the_offer(group, reason)
        else:
            self._findings.note([group], reason)
        return ()

    def _narrow_down(self, group: Group, reason: str, *, faulty: bool) -> Sequence[Group]:
        """Halve it; of a single one say what is wrong with it."""
        if len(group.members) > 1:
            return group.halves()
        if faulty:
            self._findings.quarantine(self._rows(group)[0], reason)
        else:
            message = f"{group.members[0].outpoint} of {group.value_in_sat} sat: {reason}"
            self._findings.alarm(self._rows(group), AlarmKind.NOT_SIGNED, message)
        return ()

    def _raise_the_offer(self, group: Group, reason: str) -> Sequence[Group]:
        """Somebody else's transaction holds it in the mempool: outbid that, within the budget."""
        most = limit(group.members[0])
        if group.feerate_per_kw >= most:
            message = f"{group.members[0].outpoint}: its whole budget is not enough: {reason}"
            self._findings.alarm(self._rows(group), AlarmKind.CONTESTED, message)
            return ()
        higher = group.feerate_per_kw * _CONTEST_PERCENT // 100
        return (Group(group.kind, group.members, FeeratePerKw(min(most, higher))),)

    def _send_all_the_same(self, group: Group, made: Attempt) -> None:
        """A test may be wrong where the real thing is taken: its word counts."""
        if not self._store_and_send([made]):
            return
        sent = self._held.db.run(lambda conn: broadcasts.find(conn, made.signed.txid))
        if sent is not None and sent.last_outcome in _FAULTY:
            self._held.db.run(lambda conn: broadcasts.abandon(conn, sent.id))
            self._findings.quarantine(self._rows(group)[0], sent.last_reason or "refused")

    # -- storing --

    def _store_and_send(self, made: Sequence[Attempt], replaced: Broadcast | None = None) -> bool:
        """Whether any was stored, and so sent."""
        stored = self._held.db.run(lambda conn: self._store(conn, made, replaced)) if made else []
        if not stored:
            return False
        reach(CrashPoint.SWEEP_STORED)
        for one in made:
            self._wallet.take(one.draft.coins)
        send(self._held, stored)
        reach(CrashPoint.SWEEP_SENT)
        return True

    def _store(
        self, conn: Connection, made: Sequence[Attempt], replaced: Broadcast | None
    ) -> list[Broadcast]:
        """Stored, and the old one given up; without those for which something has changed.

        The rows are held, so that no other round stores a transaction for them.
        """
        members = [member.outpoint for one in made for member in one.draft.group.members]
        held = {row.outpoint: row for row in sweep_inputs.lock(conn, members)}
        spent = [one.outpoint for each in made for one in self._spent_inputs(each)]
        taken = broadcasts.spending(conn, spent, besides=replaced)
        parents = broadcasts.find_many(conn, [one.parent_txid for one in made if one.parent_txid])
        fitting = [
            one
            for one in made
            if all(member.outpoint in held for member in one.draft.group.members)
            and taken.isdisjoint(spent.outpoint for spent in self._spent_inputs(one))
            and (one.parent_txid is None or one.parent_txid in parents)
        ]
        if not fitting:
            return []
        if replaced is not None:
            broadcasts.abandon(conn, replaced.id)
        swept = [(one, member) for one in fitting for member in one.draft.group.members]
        sweep_inputs.offered(
            conn, {m.outpoint: min(limit(m), one.draft.feerate_per_kw) for one, m in swept}
        )
        findings.clear(conn, [held[member.outpoint].channel_id for _, member in swept])
        stored = signed.store_many(conn, [self._signed(one) for one in fitting])
        reach(CrashPoint.SWEEP_BEFORE_COMMIT)
        return stored

    def _signed(self, made: Attempt) -> Signed:
        return Signed(
            self._stored[made.draft.group.members[0].outpoint].channel_id,
            SWEEP if made.parent_txid is None else BUMP,
            made.signed.txid,
            made.signed.tx,
            self._spent_inputs(made),
            made.price,
            made.parent_txid,
            urgent=self._urgent,
        )

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
