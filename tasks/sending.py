"""Giving stored transactions to the Bitcoin node, and keeping what it says.

Our commitment is given only while its case offers it (docs/decisions/0027). A refusal is data on
the attempt. What it says of our commitment goes to the docket, because the law waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import structlog

from chain.view import PublishResult
from contractcourt.alarms import AlarmKind
from contractcourt.arbitrator.offer import on_offer
from contractcourt.case import Case
from contractcourt.errors import LawError
from contractcourt.events import TAKEN, PublishOutcome, TransactionPublished
from contractcourt.units import Txid
from storage import alarms, broadcasts, cases, docket, settling
from storage.broadcasts import BUMP, COMMITMENT, HTLC_TRANSACTION, Attempt, Broadcast
from storage.database import Connection
from storage.docket import NewEntry
from storage.errors import UnreadableRecord
from tasks import wakeups
from tasks.crash_points import CrashPoint, reach
from tasks.resources import Resources

_log = structlog.get_logger()

#: Its own fault, or that of one of its inputs.
FAULTY = frozenset({PublishOutcome.POLICY, PublishOutcome.INVALID})


def send(held: Resources, open_ones: Sequence[Broadcast]) -> None:
    """Send each, a child together with its parent; a commitment that is on offer no more is not."""
    single = _still_offered(held, [b for b in open_ones if b.parent_txid is None])
    if single:
        answers = held.chain.send_many([broadcast.raw_tx for broadcast in single])
        reach(CrashPoint.NODE_ANSWERED)
        _record(held, list(zip(single, answers, strict=True)))
    for broadcast in open_ones:
        if broadcast.parent_txid is not None:
            _record(held, _send_package(held, broadcast))


def _send_package(held: Resources, child: Broadcast) -> list[tuple[Broadcast, PublishResult]]:
    """Parent and child at once: alone the parent may pay too little to be taken (F5, B7)."""
    txid = child.parent_txid
    assert txid is not None
    parent = held.db.run(lambda conn: broadcasts.find(conn, txid))
    if parent is None or not _still_offered(held, [parent]):
        return []
    answers = held.chain.submit_package([parent.raw_tx, child.raw_tx])
    return list(zip([parent, child], answers, strict=True))


def _still_offered(held: Resources, given: Sequence[Broadcast]) -> list[Broadcast]:
    """Without commitments of ours that their cases offer no more: these are given up (L19).

    Where only another version can read the case, it is left to that one; where it is damaged, to
    whoever mends it.
    """
    ours = [broadcast for broadcast in given if broadcast.purpose == COMMITMENT]
    if not ours:
        return list(given)
    channel_ids = [broadcast.channel_id for broadcast in ours]
    known = held.db.run(lambda conn: cases.legible(conn, channel_ids))
    offered: dict[int, Txid | None] = {}
    for channel_id, case in known.items():
        with suppress(LawError):
            offered[channel_id] = on_offer(case)
    kept_back = [b for b in ours if b.txid != offered.get(b.channel_id)]
    for broadcast in kept_back:
        if broadcast.channel_id in offered:
            give_up(held, broadcast, partial(_offers, broadcast.txid))
    return [broadcast for broadcast in given if broadcast not in kept_back]


def _offers(txid: Txid, case: Case) -> bool:
    return on_offer(case) == txid


def give_up(held: Resources, broadcast: Broadcast, is_wanted: Callable[[Case], bool]) -> None:
    """Send it no more, unless its case wants it after all.

    Under the case's lock: what asks for it again comes after this, and takes it up. Where only
    another version understands all of the case, it is left to that one.
    """

    def abandon(conn: Connection) -> None:
        if not is_wanted(cases.lock_one(conn, broadcast.channel_id).case):
            settling.abandon(conn, [broadcast.id])

    with suppress(UnreadableRecord):
        held.db.run(abandon)
    # Whoever found the case held meanwhile left it to us, and nothing was applied.
    wakeups.wake([broadcast.channel_id])


def _record(held: Resources, answered: Sequence[tuple[Broadcast, PublishResult]]) -> None:
    def record(conn: Connection) -> list[NewEntry]:
        attempts = broadcasts.record_attempts(
            conn, [(broadcast.id, answer.outcome, answer.reason) for broadcast, answer in answered]
        )
        news = [
            _news(broadcast, answer, attempts[broadcast.id].number)
            for broadcast, answer in answered
            if _is_news(broadcast, answer.outcome, attempts[broadcast.id])
        ]
        docket.append_many(conn, news)
        for broadcast, answer in answered:
            if _is_alarming(broadcast, answer.outcome):
                message = f"the Bitcoin node refuses {broadcast.txid}: {answer.reason}"
                alarms.keep_raised(conn, broadcast.channel_id, AlarmKind.UNKNOWN_REFUSAL, message)
        reach(CrashPoint.OUTCOME_BEFORE_COMMIT)
        return news

    news = held.db.run(record)
    reach(CrashPoint.OUTCOME_STORED)
    for broadcast, answer in answered:
        _log_attempt(broadcast, answer)
    if news:
        wakeups.wake([entry.channel_id for entry in news])


def _is_alarming(broadcast: Broadcast, outcome: PublishOutcome) -> bool:
    """Nobody else says so: the law does of our commitment, and the sweeper of what it has tried."""
    untried = broadcast.purpose in (BUMP, HTLC_TRANSACTION)
    return outcome is PublishOutcome.UNKNOWN or (untried and outcome in FAULTY)


def _is_news(broadcast: Broadcast, outcome: PublishOutcome, attempt: Attempt) -> bool:
    """Another one than was known, here or to who sent it in the same moment."""
    known = {broadcast.last_outcome, attempt.outcome_before}
    return broadcast.purpose == COMMITMENT and known != {outcome}


def _news(broadcast: Broadcast, answer: PublishResult, attempt: int) -> NewEntry:
    return NewEntry(
        broadcast.channel_id,
        TransactionPublished(broadcast.txid, answer.outcome, answer.reason),
        f"published:{broadcast.txid}:{attempt}",
        "court",
    )


def _log_attempt(broadcast: Broadcast, answer: PublishResult) -> None:
    # The same answer every block says nothing new (users_ask L5).
    say = _log.debug if broadcast.last_outcome is answer.outcome else _log.info
    say(
        "published" if answer.outcome in TAKEN else "publish refused",
        txid=str(broadcast.txid),
        purpose=broadcast.purpose,
        node=broadcast.node,
        outcome=answer.outcome.value,
        reason=answer.reason,
    )
