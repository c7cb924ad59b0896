"""What verdicts become in Postgres: all their rows, in the transaction that stores their cases.

Marks, watches and deadlines are rows that mean what the effect says. What must happen outside
Postgres goes into the outbox. Set-based: a burst of channels costs a handful of statements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from contractcourt.advance import Verdict
from contractcourt.arbitrator import clocks
from contractcourt.arbitrator.offer import on_offer
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.case import Case
from contractcourt.contract import ContractStage
from contractcourt.effects import BumpCommitment, NotifyNode, SweepOutput
from contractcourt.events import PreimageLearned
from contractcourt.units import PaymentHash
from storage import (
    contracts,
    endpoints,
    htlc_index,
    outbox,
    sweep_inputs,
    sweep_rounds,
    told_preimages,
)
from storage.database import Connection
from storage.docket import NewEntry, NumberedEvent
from storage.sweep_inputs import Wish
from tasks.effect_rows import EffectRows, Errand


@dataclass(slots=True)
class Advanced:
    """One channel's way through this transaction: where it began, and its verdicts in order.

    `applied_seq`: the entry that was applied before the first of them.
    """

    channel_id: int
    before: Case | None
    verdicts: list[Verdict] = field(default_factory=list)
    applied_seq: int = 0

    @property
    def after(self) -> Case:
        """The case as the last verdict left it."""
        return self.verdicts[-1].case


@dataclass(frozen=True, slots=True)
class Written:
    """What has to be told once it is committed.

    (id, kind) of what waits in the outbox for somebody to carry it out, and the ids of what is
    urgent of it; other channels to be woken. `wishes`: what is to be swept, stored but not asked
    for yet (`ask_for_rounds`). `answers`: by channel what its own docket holds now as the answer
    to a question of its case.
    """

    outbox: list[tuple[int, str]]
    urgent: frozenset[int]
    woken: frozenset[int]
    wishes: Sequence[Wish]
    answers: Mapping[int, Sequence[NumberedEvent]]


def write(conn: Connection, advanced: list[Advanced]) -> Written:
    """Write every effect.

    The cases themselves are the caller's to store, in this same transaction, and the rounds of
    sweeping to ask for at its end.
    """
    rows = EffectRows()
    for channel in advanced:
        for seq, verdict in enumerate(channel.verdicts, channel.applied_seq + 1):
            for effect in verdict.effects:
                rows.sort_in(conn, channel.channel_id, seq, verdict.case, effect)
        if channel.before is not None:
            way = [channel.before, *(verdict.case for verdict in channel.verdicts)]
            rows.stop(channel.channel_id, clocks.stopped(way))
    rows.flush(conn)
    changed = [c for c in advanced if c.before is None or c.before.contracts != c.after.contracts]
    contracts.replace_many(conn, [(c.channel_id, c.after.contracts) for c in changed])
    wishes = _write_wishes(conn, advanced)
    rows.tell_dockets(conn, _told_before(conn, advanced))
    rows.wait_for_the_chain(conn)
    awaited, for_the_record = _by_who_waits(conn, advanced, rows.outbox)
    ids = outbox.put_many(conn, [(channel_id, effect) for channel_id, effect, _ in awaited])
    outbox.put_many(conn, [(c, effect) for c, effect, _ in for_the_record], done=True)
    return Written(
        [(i, outbox.kind_of(effect)) for i, (_, effect, _) in zip(ids, awaited, strict=True)],
        frozenset(i for i, (_, _, hurries) in zip(ids, awaited, strict=True) if hurries),
        frozenset(rows.woken),
        wishes,
        rows.answers,
    )


def _told_before(conn: Connection, advanced: Sequence[Advanced]) -> list[NewEntry]:
    """Index the HTLCs; for their dockets the preimages that were told before them.

    The key says after which entry: of one payment HTLCs may come, be settled, and come again.
    """
    new = [
        (channel, hashed)
        for channel in advanced
        for hashed in sorted({*_new_hashes(conn, channel), *_forgotten(channel)})
        if channel.after.preimage_of(hashed) is None
    ]
    told = told_preimages.recall(conn, ((c.after.channel.node, hashed) for c, hashed in new))
    return [
        NewEntry(
            c.channel_id,
            PreimageLearned(hashed, told[key]),
            f"told:{hashed}:{c.applied_seq + len(c.verdicts)}",
            "court",
        )
        for c, hashed in new
        if (key := (c.after.channel.node, hashed)) in told
    ]


def _new_hashes(conn: Connection, channel: Advanced) -> list[PaymentHash]:
    if not _htlcs_changed(channel):
        return []
    return htlc_index.replace(conn, channel.channel_id, channel.after)


def _forgotten(channel: Advanced) -> set[PaymentHash]:
    """Of HTLCs that were settled, and came again, within these verdicts."""
    before, after = channel.before, channel.after
    if before is None or before.preimages is after.preimages:
        return set()
    return {known.payment_hash for known in before.preimages} & after.payment_hashes


def _by_who_waits(
    conn: Connection, advanced: Sequence[Advanced], effects: Sequence[Errand]
) -> tuple[list[Errand], list[Errand]]:
    """What is to be carried out, and letters to nodes that do not listen (decision 0025)."""
    node_of = {channel.channel_id: channel.after.channel.node for channel in advanced}
    told = {node_of[channel_id] for channel_id, effect, _ in effects if _is_letter(effect)}
    silent = told - endpoints.listening(conn, told) if told else told
    awaited: list[Errand] = []
    for_the_record: list[Errand] = []
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
    new: dict[int, set[OutPoint]] = {channel.channel_id: set() for channel in advanced}
    for channel_id, wish in wishes:
        new[channel_id].add(wish.effect.contract.outpoint)
    moved = [(c, _kept_wishes(c)) for c in advanced if _has_moved(c)]
    sweep_inputs.keep_only(
        conn,
        [(c.channel_id, k) for c, k in moved if _had_wishes(c) or not new[c.channel_id] <= k],
    )
    return [wish for _, wish in wishes]


def ask_for_rounds(
    conn: Connection, wishes: Sequence[Wish]
) -> tuple[frozenset[str], frozenset[str]]:
    """Have rounds look at wishes that this transaction stores; best at its end.

    The row of a node's rounds is held from here to the commit, and all workers meet at it.

    The nodes whose rounds are to be told of: for what can wait, and for what has a deadline.
    """
    lanes = {(wish.channel.node, wish.effect.deadline is not None) for wish in wishes}
    untold = sweep_rounds.ask_lanes(conn, lanes, anew=False)
    return (
        frozenset(node for node, urgent in untold if not urgent),
        frozenset(node for node, urgent in untold if urgent),
    )


def _had_wishes(channel: Advanced) -> bool:
    """Before this transaction: something to sweep, or to bump."""
    before = channel.before
    return before is not None and (bool(before.contracts) or on_offer(before) is not None)


def _has_moved(channel: Advanced) -> bool:
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
    return told and before.payment_hashes != after.payment_hashes
