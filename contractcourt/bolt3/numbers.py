"""The commitment number that a commitment transaction carries, obscured (rules B2 and B3)."""

from __future__ import annotations

from hashlib import sha256

_LOCKTIME_MARK = 0x20
_SEQUENCE_MARK = 0x80
_LOW_24 = 0xFFFFFF
_LOW_48 = (1 << 48) - 1


def obscuring_factor(opener_payment_basepoint: bytes, accepter_payment_basepoint: bytes) -> int:
    """What hides the numbers of a channel from all who do not know both basepoints.

    The opener's comes first on both sides' commitments.
    """
    digest = sha256(opener_payment_basepoint + accepter_payment_basepoint).digest()
    return int.from_bytes(digest[-6:], "big")


def encode(number: int, factor: int) -> tuple[int, int]:
    """(nLockTime, nSequence) of commitment `number`. Raises ValueError beyond 48 bits."""
    if not 0 <= number <= _LOW_48:
        raise ValueError(f"commitment number {number} does not fit 48 bits")
    obscured = number ^ factor
    return _LOCKTIME_MARK << 24 | obscured & _LOW_24, _SEQUENCE_MARK << 24 | obscured >> 24


def decode(locktime: int, sequence: int, factor: int) -> int | None:
    """The commitment number, or None when these are not a commitment's (rule C4)."""
    if locktime >> 24 != _LOCKTIME_MARK or sequence >> 24 != _SEQUENCE_MARK:
        return None
    return ((sequence & _LOW_24) << 24 | locktime & _LOW_24) ^ factor
