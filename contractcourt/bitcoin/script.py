"""The few script forms that a channel uses, and what a sweep may pay."""

from __future__ import annotations

from enum import IntEnum
from hashlib import sha256

from contractcourt.bitcoin.ripemd160 import ripemd160
from contractcourt.units import PublicKey, Script


class Op(IntEnum):
    """The opcodes of BOLT 3's templates."""

    FALSE = 0x00
    PUSHDATA1 = 0x4C
    PUSHDATA2 = 0x4D
    ONE = 0x51
    TWO = 0x52
    SIXTEEN = 0x60
    IF = 0x63
    NOTIF = 0x64
    ELSE = 0x67
    ENDIF = 0x68
    RETURN = 0x6A
    IFDUP = 0x73
    DROP = 0x75
    DUP = 0x76
    SWAP = 0x7C
    SIZE = 0x82
    EQUAL = 0x87
    EQUALVERIFY = 0x88
    HASH160 = 0xA9
    CHECKSIG = 0xAC
    CHECKSIGVERIFY = 0xAD
    CHECKMULTISIG = 0xAE
    CHECKLOCKTIMEVERIFY = 0xB1
    CHECKSEQUENCEVERIFY = 0xB2


#: Every byte by its number. Scripts are built by the dozen with each close.
_BYTES = tuple(bytes([number]) for number in range(256))


def build(*parts: Op | bytes | int) -> Script:
    """A script from opcodes, data (pushed) and numbers (pushed in their shortest form)."""
    return Script(b"".join([_piece(part) for part in parts]))


def _piece(part: Op | bytes | int) -> bytes:
    if isinstance(part, Op):
        return _BYTES[part]
    return push(part) if isinstance(part, bytes) else push_number(part)


def push(data: bytes) -> bytes:
    """The opcodes that push `data`. Raises ValueError beyond 520 bytes, which no script may."""
    if len(data) < Op.PUSHDATA1:
        return _BYTES[len(data)] + data
    if len(data) <= 0xFF:
        return bytes([Op.PUSHDATA1, len(data)]) + data
    if len(data) <= 520:
        return bytes([Op.PUSHDATA2]) + len(data).to_bytes(2, "little") + data
    raise ValueError("a script pushes at most 520 bytes at once")


def push_number(number: int) -> bytes:
    """The shortest push of a number that is not negative (BIP 62, rule 3)."""
    if number < 0:
        raise ValueError("the templates hold no negative numbers")
    if number == 0:
        return bytes([Op.FALSE])
    if number <= 16:
        return bytes([Op.ONE + number - 1])
    # One bit more than the number needs: the highest bit of the last byte is its sign.
    return push(number.to_bytes(number.bit_length() // 8 + 1, "little"))


def hash160(data: bytes) -> bytes:
    """RIPEMD160 of SHA256, 20 bytes."""
    return ripemd160(sha256(data).digest())


def p2wsh(witness_script: bytes) -> Script:
    """The output script that pays a witness script."""
    return build(Op.FALSE, sha256(witness_script).digest())


def p2wpkh(public_key: bytes) -> Script:
    """The output script that pays a public key."""
    return build(Op.FALSE, hash160(public_key))


def p2wpkh_script_code(public_key: bytes) -> Script:
    """What a signature for a P2WPKH output commits to in place of a script (BIP 143)."""
    return build(Op.DUP, Op.HASH160, hash160(public_key), Op.EQUALVERIFY, Op.CHECKSIG)


def multisig_2of2(first: PublicKey, second: PublicKey) -> Script:
    """The funding output's witness script; the lesser key comes first (rule B1)."""
    lesser, greater = sorted((first, second))
    return build(Op.TWO, lesser, greater, Op.TWO, Op.CHECKMULTISIG)


def is_standard_sweep(script: bytes) -> bool:
    """Whether a sweep may pay `script`: P2WPKH, P2WSH, P2TR, P2PKH or P2SH."""
    match len(script):
        case 22:
            return script.startswith(b"\x00\x14")
        case 34:
            return script.startswith((b"\x00\x20", b"\x51\x20"))
        case 25:
            return script.startswith(b"\x76\xa9\x14") and script.endswith(b"\x88\xac")
        case 23:
            return script.startswith(b"\xa9\x14") and script.endswith(b"\x87")
        case _:
            return False
