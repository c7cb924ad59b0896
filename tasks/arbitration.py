"""Advancing cases: load, ask the law, store. Everything of one step is one transaction.

Promises kept here by construction:

* An event is applied exactly once (P1): `applied_seq` moves in the commit that stores what the
  event did, and the next transaction begins after it.
* Closed only with resolutions (P2): the mark, the contracts and the case are one commit.
* One worker a channel (P4): the case's row is locked from reading to storing. A wake-up that
  meets a locked case does nothing, because whoever holds the lock looks for new entries after
  its commit, when no later entry can have missed it. Whoever rolls back, or applies nothing,
  wakes the channel instead.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psycopg
import structlog

from contractcourt.advance import open_case
from contractcourt.alarms import AlarmKind
from contractcourt.errors import ContractCourtError, LawError
from contractcourt.events import ChannelOpened, Event, PolicyChanged
from storage import alarms, cases, channels, docket, nodes
from storage.cases import StoredCase
from storage.database import Connection, Database
from storage.docket import Appended, NumberedEvent, Source
from storage.errors import UnreadableRecord
from storage.retries import is_retryable
from storage.sweep_inputs import Wish
from tasks import carrying_out
from tasks.carrying_out import Advanced, Written
from tasks.crash_points import CrashPoint, reach
from tasks.errors import BrokenLaw
from tasks.verdicts import judge

_log = structlog.get_logger()

#: Channels advanced in one transaction at most, if their cases are small enough
#: (`cases.MOST_BYTES`), and events of one channel applied in it (users_ask C17).
CHUNK = 500
EVENTS_AT_ONCE = 200
#: After so long the law is asked about no further channel in this transaction: others wait for
#: these cases, and Postgres ends a transaction that says nothing for 15 s. A channel with hundreds
#: of contracts takes a second for as many events.
MOST_SECONDS = 2.0
#: What may lie in one channel alone (`lies_in_a_channel`): in what is stored of it, or in a fault
#: of ours that it alone has met.
OF_A_CHANNEL = (
    BrokenLaw,
    LawError,
    UnreadableRecord,
    psycopg.Error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
#: Looking again is bounded; what still comes in after so many rounds has its own wake-up.
_MOST_ROUNDS = 10_000


@dataclass(slots=True)
class Outcome:
    """What a round of arbitrating did.

    `outbox`: (id, kind) of effects to carry out now, `urgent` the ids of those that can't wait;
    `woken`: channels with news that were not applied here; `wishes`: what is to be swept;
    `sweeping`: nodes whose rounds are to be told of them, `urgent_sweeping` those with something
    that has a deadline; `stood`: by channel that was held, what it has applied now.
    """

    applied: int = 0
    outbox: list[tuple[int, str]] = field(default_factory=list)
    woken: set[int] = field(default_factory=set)
    sweeping: set[str] = field(default_factory=set)
    urgent: set[int] = field(default_factory=set)
    urgent_sweeping: set[str] = field(default_factory=set)
    wishes: list[Wish] = field(default_factory=list)
    stood: dict[int, int] = field(default_factory=dict)

    @property
    def pressing(self) -> list[Wish]:
        """What is to be swept before a deadline."""
        return [wish for wish in self.wishes if wish.effect.deadline is not None]

    def add(self, other: Outcome) -> None:
        """Count another step in."""
        self.applied += other.applied
        self.stood |= other.stood
        self.outbox += other.outbox
        self.woken |= other.woken
        self.sweeping |= other.sweeping
        self.urgent |= other.urgent
        self.urgent_sweeping |= other.urgent_sweeping
        self.wishes += other.wishes


def arbitrate(db: Database, channel_ids: Sequence[int]) -> Outcome:
    """Apply everything that waits on these channels' dockets.

    In chunks, each one commit. Channels that another worker holds are left to it.
    """
    outcome = Outcome()
    ids = sorted(set(channel_ids))
    for start in range(0, len(ids), CHUNK):
        news: Sequence[int] = ids[start : start + CHUNK]
        for _ in range(_MOST_ROUNDS):
            step = _step(db, news)
            reach(CrashPoint.VERDICT_COMMITTED)
            outcome.add(step)
            news = _news(db, step.stood)
            if not news:
                break
    return outcome


def _news(db: Database, stood: Mapping[int, int]) -> list[int]:
    """Of the channels that were held, those with an entry that had no room, or came meanwhile."""
    return db.run(lambda conn: docket.ahead(conn, stood)) if stood else []


def _step(db: Database, chunk: Sequence[int]) -> Outcome:
    """One commit for the chunk; if one channel can't be read, or the law breaks, one for each."""
    try:
        return db.run(lambda conn: apply_pending(conn, chunk))
    except OF_A_CHANNEL as broken:
        if not lies_in_a_channel(broken):
            raise
        if len(chunk) == 1:
            _set_aside(db, chunk[0], broken)
            return Outcome()
    outcome = Outcome()
    for channel_id in chunk:
        outcome.add(_step(db, [channel_id]))
    return outcome


def lies_in_a_channel(broken: Exception) -> bool:
    """Whether one of `OF_A_CHANNEL` keeps nobody else from being advanced.

    So are rows that Postgres refuses, or finds damaged.
    """
    of_rows = psycopg.DataError | psycopg.IntegrityError | psycopg.InternalError
    of_postgres = isinstance(broken, psycopg.Error)
    return not of_postgres or (isinstance(broken, of_rows) and not is_retryable(broken))


def apply_pending(conn: Connection, chunk: Sequence[int]) -> Outcome:
    """Lock what is free and has room in this transaction, apply its docket in order, store it all.

    The transaction ends here, for the rounds are asked for (`ask_for_rounds`).
    """
    outcome = _apply_pending(conn, chunk)
    ask_for_rounds(conn, outcome)
    return outcome


def ask_for_rounds(conn: Connection, outcome: Outcome) -> None:
    """Have rounds look at the outcome's wishes: the last thing that a transaction writes.

    All meet at these rows, and who holds them must wait for nobody: not for a case, nor a docket.
    """
    sweeping, urgent_sweeping = carrying_out.ask_for_rounds(conn, outcome.wishes)
    outcome.sweeping |= sweeping
    outcome.urgent_sweeping |= urgent_sweeping
    reach(CrashPoint.VERDICT_BEFORE_COMMIT)


def _apply_pending(
    conn: Connection, chunk: Sequence[int], *, refusable: int | None = None
) -> Outcome:
    """`apply_pending`, but for the rounds.

    A LawError about the entry numbered `refusable` is raised instead of noted: it is still at
    the door, and rolling back takes it off the docket again.
    """
    locked, left = cases.lock(conn, chunk)
    reach(CrashPoint.CASES_LOCKED)
    entries = docket.pending(
        conn, {stored.channel_id: stored.applied_seq for stored in locked}, EVENTS_AT_ONCE
    )
    by_channel: dict[int, list[NumberedEvent]] = {}
    for entry in entries:
        by_channel.setdefault(entry.channel_id, []).append(entry)
    outcome = _advance(
        conn,
        [(stored, by_channel.get(stored.channel_id, [])) for stored in locked],
        refusable=refusable,
    )
    outcome.stood |= left
    return outcome


def _advance(
    conn: Connection,
    heard: Sequence[tuple[StoredCase, Sequence[NumberedEvent]]],
    *,
    refusable: int | None,
    moved_before: bool = False,
) -> Outcome:
    """Ask the law, for cases that are locked, what these events mean, and store it all.

    What a case asks of its own past is answered and applied with it: a breach is punished by one
    commit, and stored once.

    Args:
        moved_before: these cases have moved in this transaction, and nobody has stored them yet.
    """
    moved: list[tuple[StoredCase, Advanced]] = []
    give_up_at = time.monotonic() + MOST_SECONDS
    for stored, entries in heard:
        in_time = not moved or time.monotonic() <= give_up_at
        moved.append(judge(stored, entries if in_time else (), refusable))
    reach(CrashPoint.LAW_ASKED)
    done = [advanced for _, advanced in moved if advanced.verdicts]
    written = carrying_out.write(conn, done)
    answered = [(stored, written.answers.get(stored.channel_id, ())) for stored, _ in moved]
    goes_on = [(stored, answers) for stored, answers in answered if _are_next(stored, answers)]
    not_yet = {stored.channel_id for stored, _ in goes_on}
    cases.store_many(
        conn,
        [
            stored
            for stored, advanced in moved
            if (advanced.verdicts or moved_before) and stored.channel_id not in not_yet
        ],
    )
    stood = {stored.channel_id: stored.applied_seq for stored, _ in moved}
    outcome = _outcome(sum(len(advanced.verdicts) for advanced in done), stood, written)
    if goes_on:
        outcome.add(_advance(conn, goes_on, refusable=refusable, moved_before=True))
    if others := written.answers.keys() - not_yet:
        outcome.add(_apply_pending(conn, sorted(others), refusable=refusable))
    return outcome


def _are_next(stored: StoredCase, answers: Sequence[NumberedEvent]) -> bool:
    """Nothing waits on the docket before these; nobody adds to it, as we hold it to the commit."""
    return bool(answers) and answers[0].seq == stored.applied_seq + 1


def _outcome(applied: int, stood: dict[int, int], written: Written) -> Outcome:
    return Outcome(
        applied,
        written.outbox,
        set(written.woken),
        urgent=set(written.urgent),
        wishes=list(written.wishes),
        stood=stood,
    )


def _set_aside(db: Database, channel_id: int, broken: Exception) -> None:
    """Nothing of this channel moves, and the operator knows why; its events stay unapplied."""
    why = in_words(broken)
    _log.error("the law broke", channel_id=channel_id, error=why)
    db.run(lambda conn: alarms.raise_alarm(conn, channel_id, AlarmKind.LAW_BROKEN, why))


def in_words(broken: Exception) -> str:
    """What is said of one of `OF_A_CHANNEL`; a fault of ours has no words of its own."""
    has_words = isinstance(broken, ContractCourtError | psycopg.Error)
    return str(broken) if has_words else repr(broken)


def open_channel(
    conn: Connection, event: ChannelOpened, *, idempotency_key: str, source: Source
) -> tuple[int, Appended, Outcome] | None:
    """Register a channel with its case and docket entry 1; None if its point is known already.

    What its node's operator chose is entry 2, so that the docket alone tells all that is decided.

    Raises LawError when the law refuses it, UnknownNode when its node is not registered.
    """
    verdict = open_case(event)
    channel_id = channels.register(conn, event.channel)
    if channel_id is None:
        return None
    appended = docket.append(
        conn, channel_id, event, idempotency_key=idempotency_key, source=source
    )
    cases.insert(conn, channel_id, verdict.case, appended.seq)
    written = carrying_out.write(conn, [Advanced(channel_id, None, [verdict])])
    outcome = _outcome(1, {channel_id: appended.seq}, written)
    policy = nodes.policy_to_open_with(conn, event.channel.node)
    if policy is not None:
        chosen = PolicyChanged(policy)
        docket.append(conn, channel_id, chosen, idempotency_key="policy", source="operator")
        outcome.add(_apply_pending(conn, [channel_id]))
    ask_for_rounds(conn, outcome)
    return channel_id, appended, outcome


def apply_at_the_door(
    conn: Connection,
    channel_id: int,
    event: Event,
    *,
    idempotency_key: str,
    source: Source,
    seen: StoredCase | None = None,
) -> tuple[Appended, Outcome]:
    """Judge an event before it is stored, then store and apply it in the same transaction.

    The caller has yet to `ask_for_rounds`, when it writes nothing else.

    What waits on the docket is applied first, so that the event meets the case as it is. Nothing
    is applied for a duplicate, so its channel is to be woken: others left it to us meanwhile.

    Args:
        seen: the case as it was read before; it need not be read again if it still stands so.

    Raises:
        LawError: the law refuses it; roll back, and nothing was stored. Then wake the channel.
        psycopg.errors.LockNotAvailable: the case was held too long; try again.
    """
    stored = cases.lock_one(conn, channel_id, seen)
    appended = docket.append(
        conn, channel_id, event, idempotency_key=idempotency_key, source=source
    )
    if appended.duplicate:
        return appended, Outcome(woken={channel_id})
    outcome = Outcome()
    if appended.seq == stored.applied_seq + 1:
        # All that waits is in our hands. The append holds the docket until the commit, so nobody
        # but ourselves adds to it.
        reach(CrashPoint.CASES_LOCKED)
        entry = NumberedEvent(appended.seq, event, idempotency_key)
        return appended, _advance(conn, [(stored, [entry])], refusable=appended.seq)
    news: Sequence[int] = [channel_id]
    while news:
        step = _apply_pending(conn, news, refusable=appended.seq)
        outcome.add(step)
        news = docket.ahead(conn, step.stood)
    return appended, outcome
