"""What verdicts become in Postgres: all their rows, in the transaction that stores their cases.

Marks, watches and deadlines are rows that mean what the effect says. What must happen outside
Postgres goes into the outbox. Set-based: a burst of channels costs a handful of statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from contractcourt.advance import Verdict
from contractcourt.alarms import AlarmKind
from contractcourt.arbitrator.offer import on_offer
from contractcourt.arbitrator.urgency import is_urgent
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.case import Case
from contractcourt.channel import Htlc
from contractcourt.contract import ContractStage
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
from contractcourt.events import PreimageLearned, RevokedStateRecalled
from storage import (
    alarms,
    channels,
    contracts,
    deadlines,
    docket,
    endpoints,
    force_closes,
    htlc_index,
    outbox,
    revoked_states,
    sweep_inputs,
    sweep_rounds,
    watches,
)
from storage.database import Connection
from storage.docket import NewEntry
from storage.sweep_inputs import Wish

#: An effect of a channel for the outbox, and whether it hurries.
_Outgoing = tuple[int, outbox.OutboxEffect, bool]


@dataclass(slots=True)
class Advanced:
    """One channel's way through this transaction: where it began, and its verdicts in order."""

    channel_id: int
    before: Case | None
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def after(self) -> Case:
        """The case as the last verdict left it."""
        return self.verdicts[-1].case


@dataclass(frozen=True, slots=True)
class Written:
    """What has to be told once it is committed.

    (id, kind) of what waits in the outbox for somebody to carry it out, and the ids of what is
    urgent of it; other channels to be woken. `wishes`: what is to be swept, stored but not asked
    for yet (`ask_for_rounds`). `answered`: channels on whose own docket the answer to a question
    of theirs stands now.
    """

    outbox: list[tuple[int, str]]
    urgent: frozenset[int]
    woken: frozenset[int]
    wishes: Sequence[Wish]
    answered: frozenset[int]


def write(conn: Connection, advanced: list[Advanced]) -> Written:
    """Write every effect.

    The cases themselves are the caller's to store, in this same transaction, and the rounds of
    sweeping to ask for at its end.
    """
    rows = _Rows()
    for channel in advanced:
        for verdict in channel.verdicts:
            for effect in verdict.effects:
                rows.sort_in(conn, channel.channel_id, verdict.case, effect)
    rows.flush(conn)
    changed = [c for c in advanced if c.before is None or c.before.contracts != c.after.contracts]
    contracts.replace_many(conn, [(c.channel_id, c.after.contracts) for c in changed])
    wishes = _write_wishes(conn, advanced)
    for channel in advanced:
        if _htlcs_changed(channel):
            htlc_index.replace(conn, channel.channel_id, channel.after)
    awaited, for_the_record = _by_who_waits(conn, advanced, rows.outbox)
    ids = outbox.put_many(conn, [(channel_id, effect) for channel_id, effect, _ in awaited])
    outbox.put_many(conn, [(c, effect) for c, effect, _ in for_the_record], done=True)
    return Written(
        [(i, outbox.kind_of(effect)) for i, (_, effect, _) in zip(ids, awaited, strict=True)],
        frozenset(i for i, (_, _, hurries) in zip(ids, awaited, strict=True) if hurries),
        frozenset(rows.woken),
        wishes,
        frozenset(rows.answered),
    )


def _by_who_waits(
    conn: Connection, advanced: Sequence[Advanced], effects: Sequence[_Outgoing]
) -> tuple[list[_Outgoing], list[_Outgoing]]:
    """What is to be carried out, and letters to nodes that do not listen (decision 0025)."""
    node_of = {channel.channel_id: channel.after.channel.node for channel in advanced}
    told = {node_of[channel_id] for channel_id, effect, _ in effects if _is_letter(effect)}
    silent = told - endpoints.listening(conn, told) if told else told
    awaited: list[_Outgoing] = []
    for_the_record: list[_Outgoing] = []
    for one in effects:
        channel_id, effect, _ = one
        unheard = _is_letter(effect) and node_of[channel_id] in silent
        (for_the_record if unheard else awaited).append(one)
    return awaited, for_the_record


def _is_letter(effect: outbox.OutboxEffect) -> bool:
    return isinstance(effect, NotifyNode)


def _write_wishes(conn: Connection, advanced: list[Advanced]) -> list[Wish]:
    """Store what is to be swept, and drop what no longer; the former."""
    wishes = [
        (channel.channel_id, Wish(verdict.case.channel, effect, verdict.case.policy))
        for channel in advanced
        for verdict in channel.verdicts
        for effect in verdict.effects
        if isinstance(effect, SweepOutput | BumpCommitment)
    ]
    sweep_inputs.want(conn, wishes)
    moved = [c for c in advanced if _may_drop_wishes(c)]
    sweep_inputs.keep_only(conn, [(c.channel_id, _kept_wishes(c)) for c in moved])
    return [wish for _, wish in wishes]


def ask_for_rounds(
    conn: Connection, wishes: Sequence[Wish]
) -> tuple[frozenset[str], frozenset[str]]:
    """Have rounds look at wishes that this transaction stores; best at its end.

    The row of a node's rounds is held from here to the commit, and all workers meet at it.

    The nodes whose rounds are to be told of: for what can wait, and for what has a deadline.
    """
    nodes = {
        urgent: {w.channel.node for w in wishes if (w.effect.deadline is not None) is urgent}
        for urgent in (False, True)
    }
    return (
        sweep_rounds.ask(conn, nodes[False], anew=False),
        sweep_rounds.ask(conn, nodes[True], urgent=True, anew=False),
    )


def _may_drop_wishes(channel: Advanced) -> bool:
    before, after = channel.before, channel.after
    return before is not None and (
        before.contracts is not after.contracts
        or before.funding_spend is not after.funding_spend
        or on_offer(before) != on_offer(after)
    )


def _kept_wishes(channel: Advanced) -> set[OutPoint]:
    """Contracts that wait for their sweep; the anchor of our commitment while that is on offer."""
    kept = {c.outpoint for c in channel.after.contracts if c.stage is ContractStage.SWEEPING}
    if channel.after.funding_spend is None:
        for effect in channel.verdicts[-1].effects:
            if isinstance(effect, BumpCommitment):
                kept.add(effect.contract.outpoint)
    return kept


def _htlcs_changed(channel: Advanced) -> bool:
    before, after = channel.before, channel.after
    if before is None:
        return True
    told = (
        before.local_commitment is not after.local_commitment
        or before.remote_commitments is not after.remote_commitments
        or before.splice is not after.splice
    )
    return told and htlc_index.hashes(before) != htlc_index.hashes(after)


class _Rows:
    """The rows of many effects, gathered so that each table is written once."""

    def __init__(self) -> None:
        self.outbox: list[_Outgoing] = []
        self.woken: set[int] = set()
        self.answered: set[int] = set()
        self._watch: list[tuple[int, WatchOutpoint]] = []
        self._unwatch: list[tuple[int, OutPoint]] = []
        self._wake: list[tuple[int, WakeAt]] = []
        self._closed: list[tuple[int, MarkChannelClosed]] = []
        self._resolved: list[tuple[int, MarkFullyResolved]] = []
        self._alarms: list[tuple[int, AlarmKind, str]] = []
        self._remember: list[tuple[int, int, tuple[Htlc, ...]]] = []
        self._recall: set[tuple[int, int]] = set()

    def sort_in(self, conn: Connection, channel_id: int, case: Case, effect: Effect) -> None:
        """Keep one effect for its table. A mark that undoes others is written in its place."""
        match effect:
            case WatchOutpoint():
                self._watch.append((channel_id, effect))
            case UnwatchOutpoint():
                watch = (channel_id, effect.outpoint)
                self._watch = [w for w in self._watch if (w[0], w[1].outpoint) != watch]
                self._unwatch.append(watch)
            case WakeAt():
                self._wake.append((channel_id, effect))
            case MarkChannelClosed():
                self._closed.append((channel_id, effect))
            case MarkFullyResolved():
                self._resolved.append((channel_id, effect))
            case MarkChannelReopened():
                self.flush(conn)
                channels.mark_reopened(conn, channel_id)
                force_closes.reopen(conn, channel_id)
            case MarkUnresolved():
                self.flush(conn)
                channels.mark_unresolved(conn, channel_id)
            case RaiseAlarm():
                self._alarms.append((channel_id, effect.kind, effect.message))
            case PublishCommitment():
                # When nobody asked, the court decided; a later request is then a second one.
                force_closes.request(
                    conn,
                    channel_id,
                    requested_by="court",
                    reason="an HTLC is due",
                    idempotency_key="court",
                )
                force_closes.set_closing_txid(conn, channel_id, effect.commitment.txid)
                self._put_out(channel_id, case, effect)
            case RememberRevokedState():
                self._remember.append((channel_id, effect.number, effect.htlcs))
            case RecallRevokedState():
                self._recall.add((channel_id, effect.number))
            case SharePreimage():
                self._share(conn, channel_id, effect)
            case PublishHtlcTransaction() | NotifyNode() | AskLocalPoint():
                self._put_out(channel_id, case, effect)
            case SweepOutput() | BumpCommitment():
                # Written with the policy of their case: see `_write_wishes`.
                pass
            case unreachable:
                assert_never(unreachable)

    def _put_out(self, channel_id: int, case: Case, effect: outbox.OutboxEffect) -> None:
        self.outbox.append((channel_id, effect, is_urgent(case, effect)))

    def _answer_recalls(self, conn: Connection) -> None:
        """The answers stand on the dockets in this same commit; applying them is the next step."""
        found = revoked_states.recall(conn, self._recall)
        entries = [
            NewEntry(channel_id, RevokedStateRecalled(number, htlcs), f"recalled:{number}", "court")
            for (channel_id, number), htlcs in found.items()
        ]
        docket.append_many(conn, entries)
        self.answered.update(entry.channel_id for entry in entries)

    def _share(self, conn: Connection, channel_id: int, effect: SharePreimage) -> None:
        """Every other channel of the node with an HTLC of this hash may claim it now."""
        others = htlc_index.channels_with(conn, effect.node, effect.payment_hash)
        event = PreimageLearned(effect.payment_hash, effect.preimage)
        key = f"shared:{effect.payment_hash}"
        entries = [NewEntry(c, event, key, "court") for c in others if c != channel_id]
        docket.append_many(conn, entries)
        self.woken.update(entry.channel_id for entry in entries)

    def flush(self, conn: Connection) -> None:
        """Write what was gathered so far, each table once."""
        watches.remove_many(conn, self._unwatch)
        watches.add_many(conn, self._watch)
        deadlines.add_many(conn, self._wake)
        channels.mark_closed_many(conn, self._closed)
        channels.mark_fully_resolved_many(conn, [(c, mark.height) for c, mark in self._resolved])
        force_closes.conclude(conn, [channel_id for channel_id, _ in self._closed])
        alarms.raise_many(conn, self._alarms)
        revoked_states.remember(conn, self._remember)
        self._answer_recalls(conn)
        for rows in (
            *(self._unwatch, self._watch, self._wake, self._closed, self._resolved),
            *(self._alarms, self._remember, self._recall),
        ):
            rows.clear()
