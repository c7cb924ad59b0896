"""Regtest addresses and the two descriptors that name a script directly."""

from __future__ import annotations

from collections.abc import Iterable

from chain.devnet.standard import is_witness_program
from contractcourt.bitcoin import base58

_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32_CONST = 1
_BECH32M_CONST = 0x2BC830A3
_HRP = "bcrt"
_PUBKEY_HASH = 111
_SCRIPT_HASH = 196


def script_of(address: str) -> bytes:
    """The scriptPubKey that a regtest address stands for. Raises ValueError for anything else."""
    if address.lower().startswith(_HRP + "1"):
        return _segwit_script(address)
    return _base58_script(address)


def script_of_descriptor(descriptor: str) -> bytes:
    """The script of `raw(hex)` or `addr(address)`, with or without checksum; else ValueError."""
    body = descriptor.partition("#")[0]
    name, _, rest = body.partition("(")
    if not rest.endswith(")"):
        raise ValueError(f"'{descriptor}' is not a valid descriptor function")
    match name:
        case "raw":
            return bytes.fromhex(rest[:-1])
        case "addr":
            return script_of(rest[:-1])
        case _:
            raise ValueError(f"the devnet knows raw() and addr() only, not '{name}()'")


def address_of(script: bytes) -> str | None:
    """The regtest address of a scriptPubKey; None when the form has no address."""
    if is_witness_program(script):
        version = script[0] - 0x50 if script[0] else 0
        data = [version, *_regroup(script[2:], 8, 5, pad=True)]
        return _HRP + "1" + "".join(_BECH32[v] for v in data + _checksum(data, version))
    if len(script) == 25 and script[:3] == b"\x76\xa9\x14":
        return base58.encode(bytes([_PUBKEY_HASH]) + script[3:23])
    if len(script) == 23 and script[:2] == b"\xa9\x14":
        return base58.encode(bytes([_SCRIPT_HASH]) + script[2:22])
    return None


def _segwit_script(address: str) -> bytes:
    if address not in (address.lower(), address.upper()):
        raise ValueError("mixed case")
    text = address.lower()[len(_HRP) + 1 :]
    if len(text) < 8 or any(char not in _BECH32 for char in text):
        raise ValueError("not a bech32 string")
    values = [_BECH32.index(char) for char in text]
    data, version = values[:-6], values[0]
    if values[-6:] != _checksum(data, version):
        raise ValueError("wrong checksum")
    program = bytes(_regroup(data[1:], 5, 8, pad=False))
    if (
        version > 16
        or not 2 <= len(program) <= 40
        or (version == 0 and len(program) not in (20, 32))
    ):
        raise ValueError("not a witness program")
    return bytes([0x50 + version if version else 0, len(program)]) + program


def _checksum(data: list[int], version: int) -> list[int]:
    expanded = [ord(c) >> 5 for c in _HRP] + [0] + [ord(c) & 31 for c in _HRP]
    state = 1
    for value in [*expanded, *data, 0, 0, 0, 0, 0, 0]:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for bit in range(5):
            state ^= _GENERATOR[bit] if top >> bit & 1 else 0
    state ^= _BECH32M_CONST if version else _BECH32_CONST
    return [state >> 5 * (5 - index) & 31 for index in range(6)]


def _regroup(data: Iterable[int], from_bits: int, to_bits: int, *, pad: bool) -> list[int]:
    buffer = bits = 0
    found: list[int] = []
    for value in data:
        buffer = buffer << from_bits | value
        bits += from_bits
        while bits >= to_bits:
            bits -= to_bits
            found.append(buffer >> bits & (1 << to_bits) - 1)
    if pad and bits:
        found.append(buffer << to_bits - bits & (1 << to_bits) - 1)
    elif not pad and (bits >= from_bits or buffer & (1 << bits) - 1):
        raise ValueError("wrong padding")
    return found


def _base58_script(address: str) -> bytes:
    raw = base58.decode(address)
    if len(raw) != 21:
        raise ValueError("not a regtest address")
    match raw[0]:
        case 111:
            return b"\x76\xa9\x14" + raw[1:21] + b"\x88\xac"
        case 196:
            return b"\xa9\x14" + raw[1:21] + b"\x87"
        case _:
            raise ValueError("not a regtest address")
