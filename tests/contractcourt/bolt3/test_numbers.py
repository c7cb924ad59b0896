"""Commitment numbers, hidden and found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contractcourt.bolt3.commitment import channel_factor
from contractcourt.bolt3.numbers import decode, encode
from tests.vectors import common, common_channel, mirrored

BITS_48 = st.integers(0, (1 << 48) - 1)


def test_the_factor_and_the_number_of_appendix_c() -> None:
    factor = channel_factor(common_channel())
    assert f"{factor:x}" == common()["obscuring_factor_hex"]
    derived = common()["derived"]
    expected = derived["commitment_locktime"], derived["commitment_input_sequence"]
    assert encode(common()["commitment_number"], factor) == expected


def test_both_sides_have_the_same_factor() -> None:
    channel = common_channel()
    assert channel_factor(mirrored(channel)) == channel_factor(channel)


@given(number=BITS_48, factor=BITS_48)
def test_every_number_comes_back(number: int, factor: int) -> None:
    assert decode(*encode(number, factor), factor) == number


@pytest.mark.parametrize(
    ("locktime", "sequence"),
    [(0, 0xFFFFFFFF), (0x20000000, 0xFFFFFFFD), (0x21000000, 0x80000000), (0x20000000, 0)],
)
def test_other_transactions_carry_no_number(locktime: int, sequence: int) -> None:
    assert decode(locktime, sequence, 0) is None


@pytest.mark.parametrize("number", [-1, 1 << 48])
def test_a_number_fits_48_bits(number: int) -> None:
    with pytest.raises(ValueError, match="48 bits"):
        encode(number, 0)
