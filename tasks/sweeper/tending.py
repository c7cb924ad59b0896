"""What is out: sent again, outbid, and taken apart when a part of it is contested."""

from __future__ import annotations

from collections.abc import Sequence

from chain.view import PublishResult
from contractcourt.alarms import AlarmKind
from contractcourt.events import TAKEN, PublishOutcome
from contractcourt.sweeping.drafts import WalletCoin
from contractcourt.sweeping.groups import Group, GroupKind, urgency
from storage import broadcasts, settling, sweep_inputs, sweep_progress
from storage.broadcasts import Broadcast
from storage.database import Connection
from storage.sweep_inputs import StoredSweep
from tasks.crash_points import CrashPoint, reach
from tasks.sending import FAULTY, send
from tasks.signer_client import SignerUnavailable
from tasks.sweeper.attempt import Ready
from tasks.sweeper.desk import AT_ONCE, Desk
from tasks.sweeper.raises import Out, Raises, Reserved, is_left_behind, reserved, signed_raises

#: Somebody else spends a part of it, or a part of it is gone.
_CONTESTED = frozenset({PublishOutcome.DOUBLE_SPEND, PublishOutcome.MISSING_INPUTS})
#: It can't confirm as it is, or nobody knows what keeps it.
_LOST = _CONTESTED | FAULTY | {PublishOutcome.UNKNOWN}
#: Of a better offer: no block has come between, and asking again may never help.
_HELD_FAST = _LOST - {PublishOutcome.MISSING_INPUTS}


class Tending:
    """Of what was sent before the round."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        #: Coins that what is out needs before what is free; None until somebody wants one.
        self._reserved: list[Reserved] | None = None

    def run(self, since: int | None, *, signs: bool = True) -> None:
        """All of it, or what changed since this transaction.

        A signer that is away keeps none of it back. `signs`: whether it may be there.
        """
        out = self._desk.held.db.run(lambda conn: self._out(conn, since))
        out = [broadcast for broadcast in out if broadcast.id not in self._desk.outgoing.sent]
        away: SignerUnavailable | None = None
        for start in range(0, len(out), AT_ONCE):
            if start:
                self._desk.make_way()
            signs = signs and away is None
            legible, illegible = self._with_members(out[start : start + AT_ONCE])
            good = self._still_good(legible, signs=signs)
            better = Raises()
            if signs:
                better = self._signed_raises(good)
                away = better.away
            judged = self._desk.outgoing.judged(better.ready)
            taken = [one for one, verdict in judged if verdict.outcome in TAKEN]
            sent, _ = self._desk.outgoing.store_and_send(taken)
            replaced = {one.replaces.id for one in sent if one.replaces is not None}
            kept = [(one, members) for one, members in good if one.id not in replaced]
            send(self._desk.held, [*illegible, *(one for one, _ in kept)])
            self._take_back_what_is_refused(kept)
            self._tell_what_is_not_raised(better)
            self._tell_what_is_held_fast(judged)
        self._reserved = []
        if away is not None:
            raise away

    def _out(self, conn: Connection, since: int | None) -> list[Broadcast]:
        node, urgent = self._desk.node, self._desk.urgent
        if urgent:
            broadcasts.hurry(conn, node, since=since)
        return broadcasts.to_tend(conn, node, urgent=urgent, since=since)

    def _still_good(self, out: Sequence[Out], *, signs: bool) -> list[Out]:
        """Without those of which nothing is wanted any more or can confirm; they are taken back.

        So is what the mempool's floor has left behind: it holds no coins, is alarmed, and given up
        in the end, as if it had never been out.
        """
        good: list[Out] = []
        market, height = self._desk.market, self._desk.height
        for broadcast, members in out:
            if _is_lost(broadcast, members):
                self._take_back(broadcast, members, alone=len(members) > 1)
            elif signs and is_left_behind(broadcast, members, market, height):
                self._take_back(broadcast, members, alone=False)
            else:
                good.append((broadcast, members))
            reach(CrashPoint.SWEEP_TENDED)
        return good

    def _with_members(self, out: Sequence[Broadcast]) -> tuple[list[Out], list[Broadcast]]:
        """With what is still wanted of what they spend; and those of which only that is wanted that
        this version can't read: they stay as they are.
        """
        spent = [outpoint for broadcast in out for outpoint in broadcast.inputs]
        rows = self._desk.held.db.run(lambda conn: sweep_inputs.these(conn, spent))
        wanted = {stored.outpoint: stored for stored in self._desk.legible(rows)}
        others = {row.outpoint for row in rows} - wanted.keys()
        found: list[Out] = []
        illegible: list[Broadcast] = []
        for one in out:
            members = [wanted[outpoint] for outpoint in one.inputs if outpoint in wanted]
            if members or others.isdisjoint(one.inputs):
                found.append((one, members))
            else:
                illegible.append(one)
        return found, illegible

    def _signed_raises(self, out: Sequence[Out]) -> Raises:
        return signed_raises(
            self._desk.held, out, self._desk.wallet, self._desk.market, self._desk.height
        )

    def _tell_what_is_not_raised(self, raises: Raises) -> None:
        """It stays out as it is."""
        for group, missing in raises.short:
            self._desk.findings.short(self._desk.outgoing.rows(group), group, missing)
        for one in raises.unsigned:
            self._desk.findings.not_signed(
                self._desk.outgoing.rows(one.group), one.group, one.reason
            )

    def _tell_what_is_held_fast(self, judged: Sequence[tuple[Ready, PublishResult]]) -> None:
        """Better offers that the Bitcoin node refuses, while it keeps what is out."""
        refused = {
            one.replaces.txid: (one.draft.group, verdict.reason)
            for one, verdict in judged
            if one.replaces is not None and verdict.outcome in _HELD_FAST
        }
        if not refused:
            return
        out = self._desk.held.db.run(lambda conn: broadcasts.find_many(conn, list(refused)))
        for txid, (group, reason) in refused.items():
            if out[txid].last_outcome in TAKEN:
                message = (
                    f"{group.members[0].outpoint}: {group.feerate_per_kw} sat/kw in place of "
                    f"{txid} are refused: {reason}"
                )
                rows = self._desk.outgoing.rows(group)
                self._desk.findings.alarm(rows, AlarmKind.CONTESTED, message)

    def _take_back_what_is_refused(self, sent: Sequence[Out]) -> None:
        """Somebody was quicker since the last look: the rest goes out again in this round."""
        txids = [broadcast.txid for broadcast, _ in sent]
        answered = self._desk.held.db.run(lambda conn: broadcasts.find_many(conn, txids))
        for broadcast, members in sent:
            if answered[broadcast.txid].last_outcome in _LOST:
                self._take_back(broadcast, members, alone=len(members) > 1)

    def _take_back(self, out: Broadcast, members: Sequence[StoredSweep], *, alone: bool) -> None:
        """Whatever is still wanted of it is free again; `alone`: each by itself."""

        def take_back(conn: Connection) -> None:
            settling.abandon(conn, [out.id])
            outpoints = [stored.outpoint for stored in members]
            sweep_progress.set_free(conn, outpoints, alone=alone)

        self._desk.held.db.run(take_back)
        self._desk.wallet.give_back(out)

    def reserved_before(self, group: Group) -> list[WalletCoin]:
        """Coins that more urgent transactions need, which are out already."""
        if group.kind is GroupKind.DIRECT:
            return []
        if self._reserved is None:
            out = self._desk.held.db.run(
                lambda conn: broadcasts.to_tend(conn, self._desk.node, urgent=self._desk.urgent)
            )
            paid, _ = self._with_members([o for o in out if self._desk.wallet.pays_for(o)])
            good = [one for one in paid if not _is_lost(*one)]
            self._reserved = reserved(good, self._desk.wallet, self._desk.market, self._desk.height)
        before = [one for one in self._reserved if one.urgency <= urgency(group)]
        return [coin for one in before for coin in one.coins]


def _is_lost(out: Broadcast, members: Sequence[StoredSweep]) -> bool:
    """Nothing of it is wanted any more, or a node has refused it."""
    return not members or out.last_outcome in _LOST
