"""What may not wait behind other work (users_ask C7): a breach, and HTLCs that expire.

Urgent work has queues and workers of its own. A funding spend is told from its raw bytes and two
numbers of its channel, so that a block with thousands of closes costs no reading of cases; the
full judgement, `classification`, comes when the case hears of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from contractcourt.bolt3 import numbers
from contractcourt.case import COURT, Case
from contractcourt.channel import Channel
from contractcourt.effects import (
    BumpCommitment,
    Effect,
    PublishCommitment,
    PublishHtlcTransaction,
    SweepOutput,
)

#: Before the sequence of a witness transaction's only input, which has no scriptSig: version,
#: marker and flag, the count, the outpoint, the length of the scriptSig.
_ONE_INPUT = b"\x00\x01\x01"
_SCRIPT_AT, _SEQUENCE_AT = 43, 44


@dataclass(frozen=True, slots=True)
class Revocation:
    """Which commitments of the peer are revoked: those with a number below `revoked_below`."""

    obscuring_factor: int
    revoked_below: int

    def covers(self, raw_tx: bytes) -> bool:
        """This spend of the funding output carries a revoked number: it may be a breach.

        Our own older commitment may look so too; it is then only heard of sooner.
        """
        if raw_tx[4:7] != _ONE_INPUT or raw_tx[_SCRIPT_AT:_SEQUENCE_AT] != b"\0":
            return False
        sequence = int.from_bytes(raw_tx[_SEQUENCE_AT : _SEQUENCE_AT + 4], "little")
        locktime = int.from_bytes(raw_tx[-4:], "little")
        number = numbers.decode(locktime, sequence, self.obscuring_factor)
        return number is not None and number < self.revoked_below


def obscuring_factor(channel: Channel) -> int:
    """What hides the commitment numbers of this channel."""
    opener, accepter = channel.side(channel.opener), channel.side(channel.opener.other)
    return numbers.obscuring_factor(opener.payment_basepoint, accepter.payment_basepoint)


def revoked_below(case: Case) -> int:
    """The lowest number of the peer's commitments that is not revoked, as far as we know."""
    return case.remote_commitments[0].number if case.remote_commitments else 0


def is_urgent(case: Case, effect: Effect) -> bool:
    """Money is lost when this is carried out late."""
    match effect:
        case SweepOutput() | BumpCommitment():
            return effect.deadline is not None
        case PublishHtlcTransaction():
            return True
        case PublishCommitment():
            return case.force_close is not None and case.force_close.requested_by == COURT
        case _:
            return False
