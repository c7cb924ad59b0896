"""Transactions: strict reading, exact writing, and btclib as the second opinion."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from btclib.tx.tx import Tx
from hypothesis import given
from hypothesis import strategies as st

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import (
    MAX_MONEY_SAT,
    Transaction,
    TxIn,
    TxOut,
    compact_size,
)
from contractcourt.errors import MalformedTransaction
from tests.vectors import commitment_cases, vectors

FUNDING = vectors()["appendix_b_funding_transaction"]


def vector_transactions() -> Iterator[bytes]:
    """Every transaction of the BOLT 3 appendices."""
    yield bytes.fromhex(FUNDING["funding_tx_hex"])
    yield bytes.fromhex(FUNDING["block1_coinbase_tx_hex"])
    dual = vectors()["appendix_g_dual_funding"]
    for name in ("parent_tx_hex", "unsigned_funding_tx_hex", "signed_funding_tx_hex"):
        yield bytes.fromhex(dual[name])
    for case in commitment_cases():
        yield case.tx
        for told in case.htlc_transactions:
            yield told.tx


VECTORS = list(vector_transactions())
SCRIPTS = st.binary(max_size=300)
INPUTS = st.builds(
    TxIn,
    outpoint=st.binary(min_size=36, max_size=36).map(OutPoint),
    script_sig=SCRIPTS,
    sequence=st.integers(0, 0xFFFFFFFF),
    witness=st.lists(SCRIPTS, max_size=4).map(tuple),
)
OUTPUTS = st.builds(TxOut, value=st.integers(0, MAX_MONEY_SAT), script_pubkey=SCRIPTS)
TRANSACTIONS = st.builds(
    Transaction,
    version=st.integers(0, 0xFFFFFFFF),
    inputs=st.lists(INPUTS, min_size=1, max_size=5).map(tuple),
    outputs=st.lists(OUTPUTS, min_size=1, max_size=5).map(tuple),
    locktime=st.integers(0, 0xFFFFFFFF),
)


@pytest.mark.parametrize("raw", VECTORS, ids=range(len(VECTORS)))
def test_btclib_reads_the_same(raw: bytes) -> None:
    ours, theirs = Transaction.parse(raw), Tx.parse(raw, check_validity=False)
    assert ours.serialize() == raw
    assert ours.txid().hex() == theirs.id.hex()
    assert (ours.weight(), ours.vsize()) == (theirs.weight, theirs.vsize)
    assert (ours.version, ours.locktime) == (theirs.version, theirs.lock_time)
    assert [(o.value, o.script_pubkey) for o in ours.outputs] == [
        (o.value, o.script_pub_key.script) for o in theirs.vout
    ]
    assert [(i.outpoint, i.sequence) for i in ours.inputs] == [
        (i.prev_out.serialize(check_validity=False), i.sequence) for i in theirs.vin
    ]


@given(TRANSACTIONS)
def test_round_trip(tx: Transaction) -> None:
    assert Transaction.parse(tx.serialize()) == tx
    bare = Transaction.parse(tx.serialize(with_witness=False))
    assert bare.txid() == tx.txid()
    assert bare.weight() <= tx.weight()


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_read_exactly_or_refused(raw: bytes) -> None:
    try:
        tx = Transaction.parse(raw)
    except MalformedTransaction:
        return
    assert tx.serialize() == raw


@given(st.data())
def test_a_damaged_transaction_is_read_exactly_or_refused(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(VECTORS)))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        tx = Transaction.parse(bytes(raw))
    except MalformedTransaction:
        return
    assert tx.serialize() == raw


def test_every_cut_is_refused() -> None:
    raw = VECTORS[-1]
    for end in range(len(raw)):
        with pytest.raises(MalformedTransaction):
            Transaction.parse(raw[:end])
    with pytest.raises(MalformedTransaction, match="left over"):
        Transaction.parse(raw + b"\x00")


HEAD, INPUT = b"\x02\x00\x00\x00", bytes(36) + b"\x00" + b"\xff" * 4
OUTPUT, END = bytes(8) + b"\x00", bytes(4)
ONE_INPUT, ONE_OUTPUT = b"\x01" + INPUT, b"\x01" + OUTPUT


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (HEAD + b"\x00" + ONE_OUTPUT + END, "at least one"),
        (HEAD + b"\x00\x00" + END, "no inputs"),
        (HEAD + ONE_INPUT + b"\x00" + END, "at least one"),
        (HEAD + b"\x00\x02" + ONE_INPUT + ONE_OUTPUT + END, "flag"),
        (HEAD + b"\x00\x01" + ONE_INPUT + ONE_OUTPUT + b"\x00" + END, "every witness is empty"),
        (HEAD + b"\xfd\x01\x00" + INPUT + ONE_OUTPUT + END, "shortest form"),
        (HEAD + b"\xff" + b"\xff" * 8 + INPUT, "cut short"),
        (HEAD + ONE_INPUT + b"\xfe\xff\xff\xff\x7f" + OUTPUT, "cut short"),
        (HEAD + ONE_INPUT + b"\x01" + b"\xff" * 8 + b"\x00" + END, "more than can ever be"),
    ],
)
def test_what_no_node_would_read(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedTransaction, match=reason):
        Transaction.parse(raw)


@pytest.mark.parametrize("number", [0, 0xFC, 0xFD, 0xFFFF, 0x10000, 0xFFFFFFFF, 1 << 32])
def test_lengths_take_the_shortest_form(number: int) -> None:
    width = {1: 1, 3: 2, 5: 4, 9: 8}[len(compact_size(number))]
    assert int.from_bytes(compact_size(number)[-width:], "little") == number
    assert width == 1 or number >= {2: 0xFD, 4: 1 << 16, 8: 1 << 32}[width]
