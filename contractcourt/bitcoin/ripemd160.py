"""RIPEMD160: the crypto library's where it has one, else computed here.

HTLC scripts and P2WPKH need it. OpenSSL 3.0 before 3.0.7 (Ubuntu 22.04) and hosts in FIPS mode do
not offer it, and a court that cannot write an HTLC script there would be of no use. The algorithm
is in the words of its paper (Dobbertin, Bosselaers, Preneel: "RIPEMD-160", 1996).
"""

from __future__ import annotations

import hashlib
import struct

_MASK = 0xFFFFFFFF
_START = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)
_LEFT_CONSTANTS = (0, 0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xA953FD4E)
_RIGHT_CONSTANTS = (0x50A28BE6, 0x5C4DD124, 0x6D703EF3, 0x7A6D76E9, 0)
#: The permutation from one round's order of message words to the next.
_RHO = (7, 4, 13, 1, 10, 6, 15, 3, 12, 0, 9, 5, 2, 14, 11, 8)
_FIRST_LEFT = tuple(range(16))
_FIRST_RIGHT = tuple((9 * word + 5) % 16 for word in range(16))
#: How far to rotate, by round and message word; one hex digit each.
_ROTATIONS = tuple(
    tuple(int(digit, 16) for digit in row)
    for row in (
        "befc5879bdef6798",
        "cdbf6997cfbd7877",
        "dfeb7768dedc5569",
        "ebce8655fcfe9986",
        "fcdd9586ebcb8655",
    )
)

_State = tuple[int, int, int, int, int]


def ripemd160(data: bytes) -> bytes:
    """RIPEMD160 of `data`, 20 bytes. An HTLC script holds that of its payment hash."""
    try:
        return hashlib.new("ripemd160", data).digest()
    except ValueError:
        return ripemd160_in_python(data)


def ripemd160_in_python(data: bytes) -> bytes:
    """The same without the crypto library; some thousand times slower."""
    padding = b"\x80" + bytes(-(len(data) + 9) % 64)
    padded = data + padding + struct.pack("<Q", 8 * len(data))
    state: _State = _START
    for words in struct.iter_unpack("<16I", padded):
        left = _line(state, words, _FIRST_LEFT, _LEFT_CONSTANTS, reverse=False)
        right = _line(state, words, _FIRST_RIGHT, _RIGHT_CONSTANTS, reverse=True)
        h0, h1, h2, h3, h4 = state
        state = (
            h1 + left[2] + right[3] & _MASK,
            h2 + left[3] + right[4] & _MASK,
            h3 + left[4] + right[0] & _MASK,
            h4 + left[0] + right[1] & _MASK,
            h0 + left[1] + right[2] & _MASK,
        )
    return struct.pack("<5I", *state)


def _line(
    state: _State,
    words: tuple[int, ...],
    order: tuple[int, ...],
    constants: tuple[int, ...],
    *,
    reverse: bool,
) -> _State:
    """Five rounds of sixteen steps. The right line takes the functions in reverse."""
    a, b, c, d, e = state
    for turn, constant in enumerate(constants):
        for word in order:
            mixed = a + _mix(4 - turn if reverse else turn, b, c, d) + words[word] + constant
            rotated = _rotate(mixed & _MASK, _ROTATIONS[turn][word])
            a, b, c, d, e = e, rotated + e & _MASK, b, _rotate(c, 10), d
        order = tuple(_RHO[word] for word in order)
    return a, b, c, d, e


def _rotate(value: int, by: int) -> int:
    return (value << by | value >> 32 - by) & _MASK


def _mix(function: int, x: int, y: int, z: int) -> int:
    match function:
        case 0:
            return x ^ y ^ z
        case 1:
            return x & y | ~x & z
        case 2:
            return (x | ~y) ^ z
        case 3:
            return x & z | y & ~z
        case _:
            return x ^ (y | ~z)
