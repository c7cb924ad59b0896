"""One round of sweeping for one node: send what is free, then tend what is out.

An urgent round looks at what has a deadline alone, the others at all the rest. It is long when many
channels close, and makes way between two batches for whatever is urgent and short.

Every open sweep is sent again or outbid, and taken apart when a part of it is contested. What no
open sweep spends is grouped, tried on the Bitcoin node, and only then stored and sent; a group
that is refused is halved until the member is found that is to blame (users_ask L6, L7).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial

from chain.view import PublishResult
from contractcourt.alarms import AlarmKind
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.effects import BumpCommitment
from contractcourt.events import TAKEN, PublishOutcome
from contractcourt.sweeping.drafts import FeeWallet, Shortfall, WalletCoin, rate
from contractcourt.sweeping.groups import (
    Group,
    GroupKind,
    gather,
    halves,
    kind_of,
    offering,
    urgency,
)
from contractcourt.sweeping.inputs import limit, parent_fee, parent_weight
from contractcourt.sweeping.market import Market
from contractcourt.sweeping.means import is_short, within_means
from contractcourt.units import BlockHeight, FeeratePerKw
from storage import broadcasts, sweep_inputs
from storage.broadcasts import Broadcast
from storage.database import Connection
from storage.sweep_inputs import StoredSweep
from tasks.crash_points import CrashPoint, reach
from tasks.resources import Resources
from tasks.sending import send
from tasks.signer_client import SignerUnavailable
from tasks.sweeper.attempt import NotSigned, Planned, Ready, plan, sign_planned
from tasks.sweeper.findings import Findings
from tasks.sweeper.outgoing import Outgoing
from tasks.sweeper.raises import Out, Raises, Reserved, reserved, signed_raises
from tasks.sweeper.wallet import NodeWallet

#: What a contested output is offered from one try to the next.
_CONTEST_PERCENT = 150

#: Transactions signed, tried, stored and sent together.
_AT_ONCE = 20

#: Somebody else spends a part of it, or a part of it is gone.
_CONTESTED = frozenset({PublishOutcome.DOUBLE_SPEND, PublishOutcome.MISSING_INPUTS})
#: Its own fault, or that of one of its inputs.
_FAULTY = frozenset({PublishOutcome.POLICY, PublishOutcome.INVALID})
#: It can't confirm as it is, or nobody knows what keeps it.
_LOST = _CONTESTED | _FAULTY | {PublishOutcome.UNKNOWN}
#: A local matter of the node that was asked, perhaps of its test alone (users_ask B8).
_LOCAL = frozenset({PublishOutcome.POLICY, PublishOutcome.UNKNOWN})


class MadeWay(Exception):
    """Something urgent waits: the round is to go on after it."""


class SweepRound:
    """The round. Raises SignerUnavailable or ChainError when it has to be done again."""

    def __init__(
        self, held: Resources, node: str, height: BlockHeight, market: Market, *, urgent: bool
    ) -> None:
        self._held = held
        self._node = node
        self._urgent = urgent
        self._height = height
        self._market = market
        self._wallet = held.db.run(lambda conn: NodeWallet.read(conn, node))
        self._findings = Findings(held, node)
        self._outgoing = Outgoing(held, self._wallet, urgent=urgent)
        #: Coins that what is out needs before what is free; None until somebody wants one.
        self._reserved: list[Reserved] | None = None

    def run(self, *, since: int | None, position: int) -> None:
        """Sweep, then tend: everything, or what has changed since the last round.

        What tending takes back is swept at its end.

        Args:
            since: the transaction from which on to look at changes; None: at everything.
            position: that in which this round began.

        Raises MadeWay between two batches.
        """
        if since is None:
            self._held.db.run(lambda conn: broadcasts.settle(conn, self._node))
        try:
            self._sweep_what_is_free(since)
        except MadeWay:
            raise
        except Exception as error:
            # What is out is sent again, whatever keeps the new from following it.
            self._tend_what_is_out(since, signs=not isinstance(error, SignerUnavailable))
            raise
        self._tend_what_is_out(since)
        self._reserved = []
        self._sweep_what_is_free(position)

    def sweep_these(self, outpoints: Sequence[OutPoint]) -> None:
        """Sweep those of these that are free, and look at nothing else.

        What is paid for by the fee wallet is left to a round: that sees who else needs the coins.
        """
        free = self._held.db.run(lambda conn: sweep_inputs.free_of(conn, outpoints))
        self._sweep([row for row in free if kind_of(row.input) is GroupKind.DIRECT])

    def _make_way(self) -> None:
        if self._urgent and self._held.way.is_wanted():
            raise MadeWay

    # -- what is out --

    def _tend_what_is_out(self, since: int | None, *, signs: bool = True) -> None:
        """What was sent before this round. A signer that is away keeps none of it back."""
        out = self._held.db.run(
            lambda conn: broadcasts.to_tend(conn, self._node, urgent=self._urgent, since=since)
        )
        out = [broadcast for broadcast in out if broadcast.id not in self._outgoing.sent]
        away: SignerUnavailable | None = None
        for start in range(0, len(out), _AT_ONCE):
            if start:
                self._make_way()
            good = self._still_good(out[start : start + _AT_ONCE])
            better = Raises()
            if signs and away is None:
                better = self._signed_raises(good)
                away = better.away
            sent, _ = self._outgoing.store_and_send(self._outgoing.taken(better.ready))
            replaced = {one.replaces.id for one in sent if one.replaces is not None}
            kept = [(one, members) for one, members in good if one.id not in replaced]
            send(self._held, [one for one, _ in kept])
            self._take_back_what_is_refused(kept)
            self._tell_what_is_not_raised(better)
        if away is not None:
            raise away

    def _still_good(self, out: Sequence[Broadcast]) -> list[Out]:
        """With what is still wanted of what they spend; the others are taken back."""
        good: list[Out] = []
        for broadcast, members in self._with_members(out):
            if _is_lost(broadcast, members):
                self._take_back(broadcast, members)
            else:
                good.append((broadcast, members))
            reach(CrashPoint.SWEEP_TENDED)
        return good

    def _with_members(self, out: Sequence[Broadcast]) -> list[Out]:
        spent = [outpoint for broadcast in out for outpoint in broadcast.inputs]
        rows = self._held.db.run(lambda conn: sweep_inputs.these(conn, spent))
        self._outgoing.remember(rows)
        wanted = {stored.outpoint: stored for stored in rows}
        return [
            (one, [wanted[outpoint] for outpoint in one.inputs if outpoint in wanted])
            for one in out
        ]

    def _signed_raises(self, out: Sequence[Out]) -> Raises:
        return signed_raises(self._held, out, self._wallet, self._market, self._height)

    def _tell_what_is_not_raised(self, raises: Raises) -> None:
        """It stays out as it is."""
        for group, missing in raises.short:
            self._findings.short(self._outgoing.rows(group), group, missing)
        for one in raises.unsigned:
            self._findings.not_signed(self._outgoing.rows(one.group), one.group, one.reason)

    def _take_back_what_is_refused(self, sent: Sequence[Out]) -> None:
        """Somebody was quicker since the last look: the rest goes out again in this round."""
        txids = [broadcast.txid for broadcast, _ in sent]
        answered = self._held.db.run(lambda conn: broadcasts.find_many(conn, txids))
        for broadcast, members in sent:
            if answered[broadcast.txid].last_outcome in _LOST:
                self._take_back(broadcast, members)

    def _take_back(self, out: Broadcast, members: Sequence[StoredSweep]) -> None:
        """Whatever is still wanted of it is free again, each by itself."""

        def take_back(conn: Connection) -> None:
            broadcasts.abandon(conn, [out.id])
            outpoints = [stored.outpoint for stored in members]
            sweep_inputs.set_free(conn, outpoints, alone=len(members) > 1)

        self._held.db.run(take_back)
        self._wallet.give_back(out)

    # -- what is free --

    def _sweep_what_is_free(self, since: int | None) -> None:
        after: StoredSweep | None = None
        while page := self._held.db.run(partial(self._free, since=since, after=after)):
            self._sweep(page)
            # Looking is dear when many channels close: one that is not full was the last.
            if len(page) < sweep_inputs.PAGE:
                return
            after = page[-1]

    def _free(
        self, conn: Connection, since: int | None, after: StoredSweep | None
    ) -> list[StoredSweep]:
        return sweep_inputs.free(conn, self._node, urgent=self._urgent, since=since, after=after)

    def _sweep(self, free: Sequence[StoredSweep]) -> None:
        self._outgoing.remember(free)
        alone = {stored.outpoint for stored in free if stored.alone}
        inputs = [stored.input for stored in free]
        gathered = gather(inputs, self._market, self._height, alone)
        waiting = [(self._outgoing.row(item), item) for item in gathered.waiting]
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
            if left:
                self._make_way()

    def _attempt(self, groups: Sequence[Group]) -> list[Group]:
        """Sign, try, store and send these; the groups that are to be tried in their place.

        A signer that goes away stops only what it has not signed yet.
        """
        planned, next_ones = self._planned(groups)
        ready: list[Ready] = []
        made, away = sign_planned(self._held, planned)
        for one in made:
            match one:
                case NotSigned(group, reason, lasting):
                    next_ones += self._narrow_down(group, reason, faulty=lasting)
                case Ready():
                    ready.append(one)
        judged = self._outgoing.judged(ready)
        accepted = [one for one, verdict in judged if verdict.outcome in TAKEN]
        _, outrun = self._outgoing.store_and_send(accepted)
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
        wallet = self._wallet.at(self._height)
        left = deque(groups)
        while left:
            group = left.popleft()
            means = wallet.without(self._reserved_before(group))
            made = plan(group, means, self._market)
            if smaller := self._smaller(group, means, made):
                left.extendleft(reversed(smaller))
            elif isinstance(made, Planned):
                planned.append(made)
                wallet = wallet.without(made.draft.coins)
            elif planned:
                later.append(group)
            else:
                self._findings.short(self._outgoing.rows(group), group, made)
        return planned, later

    def _reserved_before(self, group: Group) -> list[WalletCoin]:
        """Coins that more urgent transactions need, which are out already."""
        if group.kind is GroupKind.DIRECT:
            return []
        if self._reserved is None:
            out = self._held.db.run(
                lambda conn: broadcasts.to_tend(conn, self._node, urgent=self._urgent)
            )
            good = [
                one
                for one in self._with_members([o for o in out if self._wallet.pays_for(o)])
                if not _is_lost(*one)
            ]
            self._reserved = reserved(good, self._wallet, self._market, self._height)
        before = [one for one in self._reserved if one.urgency <= urgency(group)]
        return [coin for one in before for coin in one.coins]

    def _smaller(
        self, group: Group, wallet: FeeWallet, made: Planned | Shortfall
    ) -> Sequence[Group]:
        if is_short(made.draft if isinstance(made, Planned) else made):
            return within_means(group, wallet, self._market)
        return ()

    def _judge(self, made: Ready, verdict: PublishResult) -> Sequence[Group]:
        """What to try instead of a transaction that was not taken."""
        outcome, reason, group = verdict.outcome, verdict.reason, made.draft.group
        if outcome in TAKEN:
            return ()
        if len(group.members) > 1:
            return self._narrow_down(group, reason, faulty=outcome in _FAULTY)
        if outcome in _LOCAL:
            self._send_all_the_same(group, made)
        elif outcome in _FAULTY:
            self._findings.quarantine(self._outgoing.rows(group)[0], reason)
        elif outcome in (PublishOutcome.DOUBLE_SPEND, PublishOutcome.FEE_TOO_LOW):
            return self._raise_the_offer(group, reason)
        else:
            self._findings.note([group], reason)
        return ()

    def _narrow_down(self, group: Group, reason: str, *, faulty: bool) -> Sequence[Group]:
        """Halve it; of a single one say what is wrong with it."""
        if len(group.members) > 1:
            return halves(group, self._market)
        if faulty:
            self._findings.quarantine(self._outgoing.rows(group)[0], reason)
        else:
            self._findings.not_signed(self._outgoing.rows(group), group, reason)
        return ()

    def _raise_the_offer(self, group: Group, reason: str) -> Sequence[Group]:
        """Somebody else's transaction holds it in the mempool: outbid that, within the budget."""
        if group.feerate_per_kw >= limit(group.members[0]):
            message = f"{group.members[0].outpoint}: its whole budget is not enough: {reason}"
            self._findings.alarm(self._outgoing.rows(group), AlarmKind.CONTESTED, message)
            return ()
        higher = max(group.feerate_per_kw * _CONTEST_PERCENT // 100, group.feerate_per_kw + 1)
        return offering(group.members, FeeratePerKw(higher), self._market)

    def _send_all_the_same(self, group: Group, made: Ready) -> None:
        """A test may be wrong where the real thing is taken: its word counts."""
        sent_ones, _ = self._outgoing.store_and_send([made])
        if not sent_ones:
            return
        sent = self._held.db.run(lambda conn: broadcasts.find(conn, made.signed.txid))
        if sent is None or sent.last_outcome not in _FAULTY | _LOCAL:
            return
        self._held.db.run(lambda conn: broadcasts.abandon(conn, [sent.id]))
        self._wallet.give_back(sent)
        reason = sent.last_reason or "refused"
        if sent.last_outcome in _FAULTY:
            self._findings.quarantine(self._outgoing.rows(group)[0], reason)
        else:
            # Who sent it has raised the alarm; the next round tries again (users_ask L5).
            self._findings.note([group], reason)


def _is_lost(out: Broadcast, members: Sequence[StoredSweep]) -> bool:
    """Nothing of it is wanted any more, or a node has refused it."""
    return not members or out.last_outcome in _LOST


def _pays_enough_by_itself(group: Group) -> bool:
    item = group.members[0]
    if not isinstance(item.want, BumpCommitment):
        return False
    commitment = item.want.commitment
    own = rate(parent_fee(item.channel, commitment), parent_weight(commitment))
    return own >= group.feerate_per_kw
