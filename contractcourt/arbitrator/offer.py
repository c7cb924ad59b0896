"""What of ours is on offer: the commitment that was decided, while nothing speaks against it.

Whoever signs or sends one asks here first, each time (docs/decisions/0027). So what was published
before the peer showed that we lost data, a splice moved the funding, or the node told a newer one,
is sent no more.
"""

from __future__ import annotations

from contractcourt.alarms import AlarmKind
from contractcourt.arbitrator import stakes
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.case import Case
from contractcourt.channel import LocalCommitment
from contractcourt.effects import CloseKind, PublishCommitment
from contractcourt.events import PublishOutcome
from contractcourt.fundings import Funding
from contractcourt.units import Txid


def to_publish(case: Case) -> LocalCommitment | None:
    """What a force close would publish; None while the node told none on the present funding.

    The newest: with it the node may reveal the secret of every one before it (F6). Fundings share
    their numbers: what lies behind a commitment that is known on another one may be revoked too,
    and is not published.
    """
    newest = case.local_commitment
    if newest is None or newest.spends != case.channel.funding_outpoint:
        return None
    behind = any(newest.number < other.number for other in case.held)
    return None if behind else newest


def goes_on_at(case: Case) -> Funding | None:
    """The new funding that alone has our newest commitment, though no splice to it was heard.

    It replaced the first funding by fee, or the two sides use it before it is mined. One that has
    it as well will do where the Bitcoin node does not know the present one.
    """
    present, told = case.local_commitment, case.splice.told
    if not told or present is None or present.spends != case.channel.funding_outpoint:
        return None
    newest = max(ours.number for ours in case.held)
    if newest == present.number and not _is_not_there(case, present):
        return None
    for new in reversed(told):
        ours = new.local_commitment
        if ours is not None and ours.number == newest and ours.spends == new.funding_outpoint:
            return new
    return None


def _is_not_there(case: Case, present: LocalCommitment) -> bool:
    """The Bitcoin node lacks what our commitment spends: it is not mined, or replaced by fee."""
    decided = case.force_close
    if decided is None or decided.txid != present.txid:
        return False
    return decided.outcome is PublishOutcome.MISSING_INPUTS


def warn_of_nothing_to_spend(hearing: Hearing, before: Case) -> None:
    """The Bitcoin node lacks what was decided to spend, and no other funding is known.

    With a block that comes after: it may tell who spent it.
    """
    case, newest = hearing.case, to_publish(hearing.case)
    if newest is None or case.funding_spend is not None or not _is_not_there(case, newest):
        return
    if goes_on_at(case) is not None:
        return
    if case.best_height > before.best_height:
        hearing.alarm(
            AlarmKind.NO_LOCAL_COMMITMENT,
            f"our commitment can't be mined: the Bitcoin node has no {newest.spends}; if another "
            "funding is used instead send channel.funding_replaced and channel.updated for it",
        )
    elif before.force_close is not case.force_close:
        hearing.wake_at(case.best_height + 1, "what our commitment spends is not there")


def on_offer(case: Case) -> Txid | None:
    """Our commitment that may be sent now; None while none was decided, or none may be sent."""
    decided = case.force_close
    if decided is None or we_lost_data(case):
        return None
    newest = to_publish(case)
    return decided.txid if newest is not None and newest.txid == decided.txid else None


def we_lost_data(case: Case) -> bool:
    """F4: a commitment known to be stale is never published (users_ask L19)."""
    spend = case.funding_spend
    seen = spend is not None and spend.kind in (CloseKind.DATA_LOSS, CloseKind.LOCAL_UNKNOWN)
    return seen or case.lost_data


def publish(hearing: Hearing, before: Case) -> None:
    """Publish what this event has put on offer.

    It was decided, or what spoke against it is gone: a splice was taken back, or the node told the
    commitments that looked like data loss, or a reorg took the close that had come before it.
    """
    case = hearing.case
    txid = on_offer(case)
    commitment = stakes.decided_commitment(case)
    if txid is None or commitment is None:
        return
    if txid != on_offer(before) or _was_not_sent_before_a_close_that_is_gone(before, case):
        hearing.want(PublishCommitment(case.channel.funding_outpoint, commitment))


def _was_not_sent_before_a_close_that_is_gone(before: Case, case: Case) -> bool:
    """Whoever is to sign it asks no more once the channel is closed; what was sent is stored."""
    decided = case.force_close
    gone = before.closed and case.funding_spend is None
    return gone and decided is not None and decided.outcome is None
