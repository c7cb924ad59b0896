"""Base58Check: how addresses and keys were written before Bech32."""

from __future__ import annotations

from contractcourt.bitcoin.transaction import sha256d

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
#: Longer than anything that is written so: a serialised extended key has 111 characters.
_MOST_CHARACTERS = 120


class WrongChecksum(ValueError):
    """The text is Base58 and was changed on its way."""


def decode(text: str) -> bytes:
    """The payload without its checksum. Raises WrongChecksum or ValueError."""
    if len(text) > _MOST_CHARACTERS:
        raise ValueError("too long for Base58Check")
    number = 0
    for character in text:
        digit = _ALPHABET.find(character)
        if digit < 0:
            raise ValueError("not Base58 text")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip("1"))
    raw = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    payload, checksum = raw[:-4], raw[-4:]
    if sha256d(payload)[:4] != checksum:
        raise WrongChecksum("wrong checksum")
    return payload


def encode(payload: bytes) -> str:
    """The payload with its checksum, as text."""
    raw = payload + sha256d(payload)[:4]
    number, text = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = _ALPHABET[digit] + text
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + text
