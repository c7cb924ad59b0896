"""Reads BIP 158 basic block filters: whether a block may touch one of some scripts.

A filter holds the scripts that a block pays to and the scripts it spends from. It never misses
one; about one time in 784,931 for each script it claims one that is not there, so a match is
a reason to read the block and nothing more (users_ask B4).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from chain.errors import MalformedFilter
from contractcourt.units import BlockHash

#: BIP 158: bits of a Golomb-Rice remainder, and the inverse of the false positive rate.
_P = 19
_M = 784_931
_MASK = (1 << 64) - 1


def matches(block_filter: bytes, block_hash: BlockHash, scripts: Iterable[bytes]) -> bool:
    """Whether the block may pay to or spend from one of these scripts.

    Raises:
        MalformedFilter: the filter ends before its last element.
    """
    count, coded = _count(block_filter)
    key = bytes(block_hash)[:16]
    span = count * _M
    wanted = {siphash(key, script) * span >> 64 for script in scripts}
    if not wanted or not count:
        return False
    highest = max(wanted)
    for value in _values(coded, count):
        if value in wanted:
            return True
        if value > highest:
            return False
    return False


def _count(block_filter: bytes) -> tuple[int, bytes]:
    """The number of elements (a CompactSize), and the coded rest."""
    if not block_filter:
        raise MalformedFilter("a filter begins with the number of its elements")
    first = block_filter[0]
    if first < 0xFD:
        return first, block_filter[1:]
    end = 1 + (1 << (first - 0xFC))
    if len(block_filter) < end:
        raise MalformedFilter("a filter begins with the number of its elements")
    return int.from_bytes(block_filter[1:end], "little"), block_filter[end:]


def _values(coded: bytes, count: int) -> Iterator[int]:
    """The elements in rising order: each is the last one plus a Golomb-Rice coded difference."""
    bits = "".join(f"{byte:08b}" for byte in coded)
    value = at = 0
    for _ in range(count):
        zero = bits.find("0", at)
        end = zero + 1 + _P
        if zero < 0 or end > len(bits):
            raise MalformedFilter("a filter ends before its last element")
        value += ((zero - at) << _P) + int(bits[zero + 1 : end], 2)
        at = end
        yield value


def siphash(key: bytes, data: bytes) -> int:
    """SipHash-2-4 of `data` under a key of 16 bytes."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:16], "little")
    a, b = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D
    c, d = k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        a, b, c, d = _round(*_round(a, b, c, d ^ word))
        a ^= word
    a, b, c, d = _round(*_round(*_round(*_round(a, b, c ^ 0xFF, d))))
    return a ^ b ^ c ^ d


def _round(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    a = (a + b) & _MASK
    b = (b << 13 & _MASK | b >> 51) ^ a
    a = a << 32 & _MASK | a >> 32
    c = (c + d) & _MASK
    d = (d << 16 & _MASK | d >> 48) ^ c
    a = (a + d) & _MASK
    d = (d << 21 & _MASK | d >> 43) ^ a
    c = (c + b) & _MASK
    b = (b << 17 & _MASK | b >> 47) ^ c
    c = c << 32 & _MASK | c >> 32
    return a, b, c, d
