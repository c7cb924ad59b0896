"""Signatures and their two forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contractcourt.bolt3.points import der, from_der, parse_point, public_key, sign, verify
from contractcourt.errors import InvalidPoint, InvalidSignature
from contractcourt.units import Signature

SECRET = b"\x01" * 32
DIGEST = b"\x02" * 32
#: The order of the curve's group.
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def test_the_same_digest_is_always_signed_the_same() -> None:
    assert sign(SECRET, DIGEST) == sign(SECRET, DIGEST)
    assert verify(public_key(SECRET), DIGEST, sign(SECRET, DIGEST))


def test_a_signature_holds_for_its_key_and_digest_only() -> None:
    signature = sign(SECRET, DIGEST)
    assert not verify(public_key(b"\x03" * 32), DIGEST, signature)
    assert not verify(public_key(SECRET), b"\x04" * 32, signature)


def test_a_high_s_is_refused() -> None:
    """Nodes do not relay it (BIP 146), so the court must not rely on one."""
    signature = sign(SECRET, DIGEST)
    high = ORDER - int.from_bytes(signature[32:], "big")
    assert not verify(public_key(SECRET), DIGEST, signature[:32] + high.to_bytes(32, "big"))


@given(st.binary(max_size=80), st.binary(max_size=40), st.binary(max_size=80))
def test_verify_never_raises(key: bytes, digest: bytes, signature: bytes) -> None:
    assert not verify(key, digest, signature)


@given(st.binary(min_size=64, max_size=64))
def test_der_and_back(raw: bytes) -> None:
    assert from_der(der(raw)) == raw


@given(st.binary(max_size=80))
def test_from_der_reads_only_what_der_writes(raw: bytes) -> None:
    try:
        read = from_der(raw)
    except InvalidSignature:
        return
    assert der(read) == raw


def test_a_signature_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidSignature, match="64 bytes"):
        der(Signature(bytes(63)))


@given(st.binary(max_size=70))
def test_parse_point_answers_the_point_or_refuses(raw: bytes) -> None:
    try:
        assert parse_point(raw) == raw
    except InvalidPoint:
        return
