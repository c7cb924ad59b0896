"""Our commitments that were decided before the present one: any that may be out stays known.

With them stay the signatures of their HTLCs, without which these could not be claimed.
"""

from __future__ import annotations

from collections.abc import Collection

from contractcourt.case import Case
from contractcourt.channel import LocalCommitment
from contractcourt.units import Txid

#: Of those that nobody said were sent. The first was asked of the signer before it was away, the
#: last ones are when it is back: whichever it signs then, that it was sent is told soon.
_MOST_UNSENT = 20


def kept(case: Case, left: LocalCommitment, sent: Collection[Txid]) -> tuple[LocalCommitment, ...]:
    """Those that stay known when `left` is decided no more. `sent`: what the Bitcoin node was
    given.
    """
    before = case.decided_before
    if left in before or not _may_be_out(case, left, sent):
        return before
    unsent = [one for one in (*before, left) if one.txid not in sent]
    dropped = unsent[1] if len(unsent) > _MOST_UNSENT else None
    return tuple(one for one in (*before, left) if one is not dropped)


def _may_be_out(case: Case, commitment: LocalCommitment, sent: Collection[Txid]) -> bool:
    """False once another one on its funding was sent: the signer signs one for each (P3).

    A node that goes on after a force close tells a newer one with every payment.
    """
    if commitment.txid in sent:
        return True
    spends = commitment.spends
    return all(other.txid not in sent or other.spends != spends for other in case.held)
