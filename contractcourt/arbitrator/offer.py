"""What of ours is on offer: the commitment that was decided, while nothing speaks against it.

Whoever signs or sends one asks here first, each time (docs/decisions/0027). So what was published
before the peer showed that we lost data, or before a splice moved the funding, is sent no more.
"""

from __future__ import annotations

from contractcourt.arbitrator import stakes
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.case import Case
from contractcourt.channel import LocalCommitment
from contractcourt.effects import CloseKind, PublishCommitment
from contractcourt.units import Txid


def to_publish(case: Case) -> LocalCommitment | None:
    """What a force close would publish; None while the node told none on the present funding.

    Of our commitments on it the one that was decided before, or the newest: a funding that a reorg
    brings back never gets a second one (P3). Fundings share their numbers: what lies behind a
    commitment that is known on another one may be revoked, and is not published.
    """
    funding = case.channel.funding_outpoint
    decided = next((c for c in case.decided_before if c.spends == funding), None)
    newest = case.local_commitment
    if decided is not None or newest is None:
        return decided
    behind = any(newest.number < other.number for other in case.held)
    return None if behind or newest.spends != funding else newest


def on_offer(case: Case) -> Txid | None:
    """Our commitment that may be sent now; None while none was decided, or none may be sent."""
    decided = case.force_close
    if decided is None or we_lost_data(case):
        return None
    stands = decided.funding_outpoint in (None, case.channel.funding_outpoint)
    return decided.txid if stands else None


def we_lost_data(case: Case) -> bool:
    """F4: a commitment known to be stale is never published (users_ask L19)."""
    spend = case.funding_spend
    seen = spend is not None and spend.kind in (CloseKind.DATA_LOSS, CloseKind.LOCAL_UNKNOWN)
    return seen or case.lost_data


def publish(hearing: Hearing, before: Case) -> None:
    """Publish what this event has put on offer.

    It was decided, or what spoke against it is gone: a splice was taken back, or the node told the
    commitments that looked like data loss.
    """
    case = hearing.case
    txid = on_offer(case)
    commitment = stakes.decided_commitment(case)
    if txid is not None and txid != on_offer(before) and commitment is not None:
        hearing.want(PublishCommitment(case.channel.funding_outpoint, commitment))
