"""Script pieces in their shortest forms."""

from __future__ import annotations

import pytest
from btclib.script.script import serialize as btclib_script
from hypothesis import given
from hypothesis import strategies as st

from contractcourt.bitcoin.script import (
    hash160,
    is_standard_sweep,
    multisig_2of2,
    p2wpkh,
    p2wsh,
    push,
    push_number,
)
from contractcourt.bolt3.points import public_key


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "00"),
        (1, "51"),
        (16, "60"),
        (17, "0111"),
        (127, "017f"),
        (128, "028000"),
        (144, "029000"),
        (32767, "02ff7f"),
        (32768, "03008000"),
        (0x7FFFFF, "03ffff7f"),
        (0x800000, "0400008000"),
    ],
)
def test_numbers_take_the_shortest_push(number: int, expected: str) -> None:
    assert push_number(number).hex() == expected
    if number > 16:  # btclib leaves the choice of OP_1 to OP_16 to its caller.
        assert btclib_script([number]).hex() == expected


def test_no_template_has_a_negative_number() -> None:
    with pytest.raises(ValueError, match="negative"):
        push_number(-1)


@pytest.mark.parametrize("length", [1, 75, 76, 255, 256, 520])
def test_data_is_pushed_as_btclib_does(length: int) -> None:
    data = b"\xab" * length
    assert push(data) == btclib_script([data])


def test_more_than_a_script_may_push() -> None:
    with pytest.raises(ValueError, match="520"):
        push(bytes(521))


@given(st.binary(max_size=64))
def test_hash160_is_twenty_bytes(data: bytes) -> None:
    assert len(hash160(data)) == 20


def test_hash160_of_a_known_key() -> None:
    """The generator point's, as BIP 173 has it in its addresses."""
    assert hash160(public_key(bytes(31) + b"\x01")).hex() == (
        "751e76e8199196d454941c45d1b3a323f1433bd6"
    )


def test_the_2_of_2_does_not_depend_on_the_order_of_its_keys() -> None:
    one, two = public_key(b"\x01" * 32), public_key(b"\x02" * 32)
    assert multisig_2of2(one, two) == multisig_2of2(two, one)


@pytest.mark.parametrize(
    ("script", "standard"),
    [
        (p2wpkh(b"key"), True),
        (p2wsh(b"script"), True),
        (b"\x51\x20" + bytes(32), True),
        (b"\x76\xa9\x14" + bytes(20) + b"\x88\xac", True),
        (b"\xa9\x14" + bytes(20) + b"\x87", True),
        (b"\x52\x20" + bytes(32), False),
        (b"\x00\x14" + bytes(19), False),
        (b"\x76\xa9\x14" + bytes(20) + b"\x88\xad", False),
        (b"\x6a", False),
        (b"", False),
    ],
)
def test_what_a_sweep_may_pay(script: bytes, standard: bool) -> None:
    assert is_standard_sweep(script) is standard
