"""Cooperative closes by their form."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxOut
from contractcourt.bolt3.closing import (
    ClosingFormat,
    build_closing,
    closing_format,
    has_closing_shape,
    is_shutdown_script,
)
from contractcourt.units import Script
from tests.vectors import commitment_cases

FUNDING = OutPoint(bytes(36))
P2WPKH = Script(b"\x00\x14" + b"\x01" * 20)
P2TR = Script(b"\x51\x20" + b"\x02" * 32)


def legacy() -> Transaction:
    return build_closing(FUNDING, [(2_000, P2TR), (1_000, P2WPKH)])


def test_outputs_are_ordered_by_amount_then_script() -> None:
    assert [output.value for output in legacy().outputs] == [1_000, 2_000]
    same = build_closing(FUNDING, [(1_000, P2TR), (1_000, P2WPKH)])
    assert [output.script_pubkey for output in same.outputs] == [P2WPKH, P2TR]


def test_both_formats_are_told_apart() -> None:
    simple = build_closing(FUNDING, [(1_000, P2WPKH)], ClosingFormat.SIMPLE, locktime=800_000)
    assert closing_format(legacy()) is ClosingFormat.LEGACY
    assert closing_format(simple) is ClosingFormat.SIMPLE


def test_a_legacy_close_has_no_locktime() -> None:
    with pytest.raises(ValueError, match="no locktime"):
        build_closing(FUNDING, [(1_000, P2WPKH)], locktime=1)
    assert closing_format(replace(legacy(), locktime=1)) is None


def test_what_is_no_closing_transaction() -> None:
    tx = legacy()
    three = (*tx.outputs, TxOut(1, P2WPKH))
    for other in (
        replace(tx, version=1),
        replace(tx, outputs=three),
        replace(tx, inputs=tx.inputs * 2),
        replace(tx, inputs=(replace(tx.inputs[0], sequence=0),)),
        replace(tx, outputs=(TxOut(1, b"\x51"),)),
    ):
        assert not has_closing_shape(other)


def test_no_commitment_of_the_vectors_looks_like_one() -> None:
    assert not any(has_closing_shape(Transaction.parse(case.tx)) for case in commitment_cases())


@pytest.mark.parametrize(
    ("script", "allowed"),
    [
        (P2WPKH, True),
        (P2TR, True),
        (b"\x00\x20" + bytes(32), True),
        (b"\x76\xa9\x14" + bytes(20) + b"\x88\xac", True),
        (b"\xa9\x14" + bytes(20) + b"\x87", True),
        (b"\x6a\x06" + bytes(6), True),
        (b"\x60\x02" + bytes(2), True),
        (b"\x00\x02" + bytes(2), False),
        (b"\x60\x02" + bytes(3), False),
        (b"\x6a", False),
        (b"", False),
    ],
)
def test_shutdown_scripts(script: bytes, allowed: bool) -> None:
    assert is_shutdown_script(script) is allowed
