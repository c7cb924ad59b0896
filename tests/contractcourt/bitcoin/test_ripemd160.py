"""RIPEMD160 without a crypto library that offers it."""

from __future__ import annotations

import pytest
from btclib._ripemd160 import ripemd160 as btclib_ripemd160
from hypothesis import given
from hypothesis import strategies as st

from contractcourt.bitcoin.ripemd160 import ripemd160, ripemd160_in_python


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        (b"", "9c1185a5c5e9fc54612808977ee8f548b2258d31"),
        (b"abc", "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"),
        (b"a" * 1_000, "aa69deee9a8922e92f8105e007f76110f381e9cf"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "12a053384a9c0c88e405a06c27dcf49ada62eb2b",
        ),
    ],
)
def test_known_digests(message: bytes, digest: str) -> None:
    assert ripemd160(message).hex() == digest
    assert ripemd160_in_python(message).hex() == digest


@given(st.binary(max_size=200))
def test_every_length_of_padding(message: bytes) -> None:
    assert ripemd160_in_python(message) == btclib_ripemd160(message) == ripemd160(message)
