"""What is free: grouped, tried on the Bitcoin node, and only then stored and sent.

A group that is refused is halved until the member is found that is to blame (users_ask L6, L7).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from functools import partial

from chain.view import PublishResult
from contractcourt.alarms import AlarmKind
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.effects import BumpCommitment
from contractcourt.events import TAKEN, PublishOutcome
from contractcourt.sweeping.drafts import Draft, FeeWallet, Shortfall, parent_rate
from contractcourt.sweeping.groups import Group, GroupKind, gather, halves, kind_of, offering
from contractcourt.sweeping.inputs import limit
from contractcourt.sweeping.means import is_short, within_means
from contractcourt.units import FeeratePerKw
from storage import broadcasts, settling, sweep_inputs
from storage.broadcasts import Broadcast
from storage.database import Connection
from storage.sweep_inputs import Illegible, StoredSweep
from tasks.sending import FAULTY
from tasks.sweeper.attempt import NotSigned, Planned, Ready, plan, sign_planned
from tasks.sweeper.desk import AT_ONCE, Desk
from tasks.sweeper.findings import PAYS_ENOUGH
from tasks.sweeper.tending import Tending

#: What a contested output is offered from one try to the next.
_CONTEST_PERCENT = 150
#: A local matter of the node that was asked, perhaps of its test alone (users_ask B8).
_LOCAL = frozenset({PublishOutcome.POLICY, PublishOutcome.UNKNOWN})
_REFUSED = frozenset(PublishOutcome) - TAKEN


class Sweeping:
    """Of what no open transaction spends. Whatever is out and more urgent has its coins first."""

    def __init__(self, desk: Desk, tending: Tending) -> None:
        self._desk = desk
        self._tending = tending

    def these(self, outpoints: Sequence[OutPoint]) -> None:
        """Those of these that are free, but for what is paid for by the fee wallet."""
        found = self._desk.held.db.run(lambda conn: sweep_inputs.free_of(conn, outpoints))
        free = self._desk.legible(found)
        self._sweep([row for row in free if kind_of(row.input) is GroupKind.DIRECT])

    def run(self, since: int | None) -> None:
        """All of it, or what changed since this transaction."""
        after: StoredSweep | Illegible | None = None
        while page := self._desk.held.db.run(partial(self._free, since=since, after=after)):
            self._sweep(self._desk.legible(page))
            # Looking is dear when many channels close: one that is not full was the last.
            if len(page) < sweep_inputs.PAGE:
                return
            after = page[-1]

    def _free(
        self, conn: Connection, since: int | None, after: StoredSweep | Illegible | None
    ) -> list[StoredSweep | Illegible]:
        return sweep_inputs.free(
            conn, self._desk.node, urgent=self._desk.urgent, since=since, after=after
        )

    def _sweep(self, free: Sequence[StoredSweep]) -> None:
        alone = {stored.outpoint for stored in free if stored.alone}
        inputs = [stored.input for stored in free]
        gathered = gather(inputs, self._desk.market, self._desk.height, alone)
        waiting = [(self._desk.outgoing.row(item), item) for item in gathered.waiting]
        self._desk.findings.wait(waiting, self._desk.market, self._desk.height)
        enough = [group for group in gathered.groups if _pays_enough_by_itself(group)]
        self._desk.findings.note(enough, PAYS_ENOUGH)
        self._carry([group for group in gathered.groups if not _pays_enough_by_itself(group)])

    def _carry(self, groups: Sequence[Group]) -> None:
        """So many at a time, the most pressing first, and what becomes of those before the next."""
        left = deque(groups)
        while left:
            batch = [left.popleft() for _ in range(min(len(left), AT_ONCE))]
            left.extendleft(reversed(self._attempt(batch)))
            if left:
                self._desk.make_way()

    def _attempt(self, groups: Sequence[Group]) -> list[Group]:
        """Sign, try, store and send these; the groups that are to be tried in their place.

        A signer that goes away stops only what it has not signed yet.
        """
        planned, next_ones = self._planned(groups)
        ready: list[Ready] = []
        made, away = sign_planned(self._desk.held, planned)
        for one in made:
            match one:
                case NotSigned(group, reason, lasting):
                    next_ones += self._narrow_down(group, reason, faulty=lasting)
                case Ready():
                    ready.append(one)
        judged = self._desk.outgoing.judged(ready)
        accepted = [one for one, verdict in judged if verdict.outcome in TAKEN]
        sent, outrun = self._desk.outgoing.store_and_send(accepted)
        self._take_back_refused_children(sent)
        next_ones += outrun
        for tried, verdict in judged:
            next_ones += self._judge(tried, verdict)
        if away is not None:
            raise away
        return next_ones

    def _planned(self, groups: Sequence[Group]) -> tuple[list[Planned], list[Group]]:
        """What can be paid for; and what is tried after it, as its coins may be free again then."""
        planned: list[Planned] = []
        later: list[Group] = []
        wallet = self._desk.wallet.at(self._desk.height)
        left = deque(groups)
        while left:
            group = left.popleft()
            means = wallet.without(self._tending.reserved_before(group))
            made = plan(group, means, self._desk.market)
            if smaller := self._smaller(group, means, made):
                left.extendleft(reversed(smaller))
            elif isinstance(made, Planned):
                planned.append(made)
                wallet = wallet.without(made.draft.coins)
            elif planned:
                later.append(group)
            else:
                self._desk.findings.short(self._desk.outgoing.rows(group), group, made)
        return planned, later

    def _smaller(
        self, group: Group, wallet: FeeWallet, made: Planned | Shortfall
    ) -> Sequence[Group]:
        if is_short(made.draft if isinstance(made, Planned) else made):
            return within_means(group, wallet, self._desk.market)
        return ()

    def _judge(self, made: Ready, verdict: PublishResult) -> Sequence[Group]:
        """What to try instead of a transaction that was not taken."""
        outcome, reason, group = verdict.outcome, verdict.reason, made.draft.group
        if outcome in TAKEN:
            return ()
        if len(group.members) > 1:
            return self._narrow_down(group, reason, faulty=outcome in FAULTY)
        if outcome in _LOCAL:
            self._send_all_the_same(group, made)
        elif outcome in FAULTY:
            self._desk.findings.quarantine(self._desk.outgoing.rows(group)[0], reason)
        elif outcome in (PublishOutcome.DOUBLE_SPEND, PublishOutcome.FEE_TOO_LOW):
            return self._raise_the_offer(made.draft, reason)
        else:
            self._desk.findings.note([group], reason)
        return ()

    def _narrow_down(self, group: Group, reason: str, *, faulty: bool) -> Sequence[Group]:
        """Halve it; of a single one say what is wrong with it."""
        if len(group.members) > 1:
            return halves(group, self._desk.market)
        if faulty:
            self._desk.findings.quarantine(self._desk.outgoing.rows(group)[0], reason)
        else:
            self._desk.findings.not_signed(self._desk.outgoing.rows(group), group, reason)
        return ()

    def _raise_the_offer(self, tried: Draft, reason: str) -> Sequence[Group]:
        """Somebody else's transaction holds it in the mempool: outbid that, within the budget."""
        group = tried.group
        if tried.pays_too_little:
            missing = Shortfall(tried.missing_sat, wallet=True)
            self._desk.findings.short(self._desk.outgoing.rows(group), group, missing)
            return ()
        if group.feerate_per_kw >= limit(group.members[0]):
            message = f"{group.members[0].outpoint}: its whole budget is not enough: {reason}"
            self._desk.findings.alarm(self._desk.outgoing.rows(group), AlarmKind.CONTESTED, message)
            return ()
        higher = max(group.feerate_per_kw * _CONTEST_PERCENT // 100, group.feerate_per_kw + 1)
        return offering(group.members, FeeratePerKw(higher), self._desk.market)

    def _send_all_the_same(self, group: Group, made: Ready) -> None:
        """A test may be wrong where the real thing is taken: its word counts."""
        sent_ones, _ = self._desk.outgoing.store_and_send([made])
        refused = self._taken_back(made, FAULTY | _LOCAL) if sent_ones else None
        if refused is None:
            return
        reason = refused.last_reason or "refused"
        if refused.last_outcome in FAULTY:
            self._desk.findings.quarantine(self._desk.outgoing.rows(group)[0], reason)
        else:
            # Who sent it has raised the alarm; the next round tries again (users_ask L5).
            self._desk.findings.note([group], reason)

    def _take_back_refused_children(self, sent: Sequence[Ready]) -> None:
        """Sent without a test. What the node does not take holds no coins, which others may need.

        Most often the peer's commitment is in its mempool. The next block tries again.
        """
        for one in sent:
            refused = self._taken_back(one, _REFUSED) if one.parent_txid is not None else None
            if refused is not None:
                self._desk.findings.note([one.draft.group], refused.last_reason or "refused")

    def _taken_back(self, sent: Ready, refusals: Collection[PublishOutcome]) -> Broadcast | None:
        """Given up with its coins, if the node has refused it so; it as it was."""
        found = self._desk.held.db.run(lambda conn: broadcasts.find(conn, sent.signed.txid))
        if found is None or found.last_outcome not in refusals:
            return None
        self._desk.held.db.run(lambda conn: settling.abandon(conn, [found.id]))
        self._desk.wallet.give_back(found)
        return found


def _pays_enough_by_itself(group: Group) -> bool:
    item = group.members[0]
    if not isinstance(item.want, BumpCommitment):
        return False
    return parent_rate(item.channel, item.want.commitment) >= group.feerate_per_kw
