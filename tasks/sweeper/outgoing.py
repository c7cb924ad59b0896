"""Signed transactions on their way out of a round: tried on the Bitcoin node, stored, then sent."""

from __future__ import annotations

from collections.abc import Sequence

from chain.view import PublishResult
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.sweeping.groups import Group
from contractcourt.sweeping.inputs import SweepInput, limit
from contractcourt.units import Satoshi
from storage import broadcasts, fee_coins, settling, signed, sweep_inputs, sweep_progress
from storage.broadcasts import BUMP, SWEEP, Broadcast
from storage.database import Connection
from storage.signed import Signed, SpentInput
from storage.sweep_inputs import StoredSweep
from tasks.crash_points import CrashPoint, reach
from tasks.resources import Resources
from tasks.sending import send
from tasks.sweeper import findings
from tasks.sweeper.attempt import Ready, verdicts
from tasks.sweeper.wallet import NodeWallet


class Outgoing:
    """The way out, for one round. It knows the rows of all that the round has looked at."""

    def __init__(self, held: Resources, wallet: NodeWallet, *, urgent: bool) -> None:
        self._held = held
        self._wallet = wallet
        self._urgent = urgent
        self._known: dict[OutPoint, StoredSweep] = {}
        #: What was sent in this round, by its id.
        self.sent: set[int] = set()

    def remember(self, stored: Sequence[StoredSweep]) -> None:
        """These may be sent."""
        self._known.update({one.outpoint: one for one in stored})

    def row(self, item: SweepInput) -> StoredSweep:
        """Of one input."""
        return self._known[item.outpoint]

    def rows(self, group: Group) -> list[StoredSweep]:
        """Of the members of a group, in their order."""
        return [self.row(member) for member in group.members]

    def judged(self, ready: Sequence[Ready]) -> list[tuple[Ready, PublishResult]]:
        """Each with what the Bitcoin node would say of it. Raises ChainError."""
        judged = list(zip(ready, verdicts(self._held, ready), strict=True))
        reach(CrashPoint.SWEEP_TRIED)
        return judged

    def store_and_send(self, made: Sequence[Ready]) -> tuple[list[Ready], list[Group]]:
        """Those that were stored, and so sent; and groups whose coins another round took first.

        The groups can be tried again: none of these coins is offered in this round any more.
        """
        if not made:
            return [], []
        kept, stored, outrun = self._held.db.run(lambda conn: self._store(conn, made))
        reach(CrashPoint.SWEEP_STORED)
        for one in kept:
            if one.replaces is not None:
                self._wallet.give_back(one.replaces)
        for one in (*kept, *outrun):
            self._wallet.take(one.draft.coins)
        send(self._held, stored)
        self.sent |= {broadcast.id for broadcast in stored}
        reach(CrashPoint.SWEEP_SENT)
        return kept, [one.draft.group for one in outrun]

    def _store(
        self, conn: Connection, made: Sequence[Ready]
    ) -> tuple[list[Ready], list[Broadcast], list[Ready]]:
        """Stored, and what they outbid given up; without those for which something has changed.

        The rows are held, so that no other round stores a transaction for them, or one that spends
        the same coins. The last are those for which nothing has changed but that a coin is taken.
        """
        members = [member.outpoint for one in made for member in one.draft.group.members]
        held = sweep_inputs.lock(conn, members)
        if any(one.coins for one in made):
            fee_coins.pay(conn, made[0].draft.group.members[0].channel.node)
        tried = [(one, self._signed(one)) for one in made]
        spent = [one.outpoint for _, row in tried for one in row.inputs]
        replaced = [one.replaces.id for one in made if one.replaces is not None]
        taken = broadcasts.spending(conn, spent, besides=replaced)
        parents = broadcasts.find_many(conn, [one.parent_txid for one in made if one.parent_txid])
        unchanged = [
            (one, row)
            for one, row in tried
            if one.draft.group.outpoints <= held
            and taken.isdisjoint(one.draft.group.outpoints)
            and (one.parent_txid is None or one.parent_txid in parents)
        ]
        outrun = [one for one, _ in unchanged if not taken.isdisjoint(one.coins)]
        fitting = [(one, row) for one, row in unchanged if taken.isdisjoint(one.coins)]
        kept = [one for one, _ in fitting]
        swept = [(one, member) for one in kept for member in one.draft.group.members]
        _give_up_what_is_outbid(conn, kept)
        sweep_progress.offered(
            conn, {m.outpoint: min(limit(m), one.draft.feerate_per_kw) for one, m in swept}
        )
        short = {
            self.row(member).channel_id: findings.fee_wallet_short(
                member.channel.node, one.draft.group, one.draft.missing_sat
            )
            for one, member in swept
            if one.draft.pays_too_little
        }
        findings.are_out(conn, {self.row(member).channel_id for _, member in swept}, short)
        stored = signed.store_many(conn, [row for _, row in fitting])
        reach(CrashPoint.SWEEP_BEFORE_COMMIT)
        return kept, stored, outrun

    def _signed(self, made: Ready) -> Signed:
        return Signed(
            self._known[made.draft.group.members[0].outpoint].channel_id,
            SWEEP if made.parent_txid is None else BUMP,
            made.signed.txid,
            made.signed.tx,
            self._spent_inputs(made),
            made.price,
            made.parent_txid,
            urgent=self._urgent,
        )

    def _spent_inputs(self, made: Ready) -> list[SpentInput]:
        members = zip(made.draft.group.members, made.draft.shares, strict=True)
        return [
            *(SpentInput(m.outpoint, self._known[m.outpoint].channel_id, f) for m, f in members),
            *(SpentInput(coin.outpoint, None, Satoshi(0)) for coin in made.draft.coins),
        ]


def _give_up_what_is_outbid(conn: Connection, made: Sequence[Ready]) -> None:
    """An input that can't afford the better offer is left out of it, and is free again."""
    outbid = [(one.replaces, one.draft.group.outpoints) for one in made if one.replaces is not None]
    settling.abandon(conn, [old.id for old, _ in outbid])
    left_out = [each for old, kept in outbid for each in old.inputs if each not in kept]
    sweep_progress.set_free(conn, left_out, alone=False)
