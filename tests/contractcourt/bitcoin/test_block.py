"""Blocks in one pass: the same spends that a patient reader finds, and nothing else read."""

from __future__ import annotations

import pytest
from btclib.block.block import Block
from hypothesis import given
from hypothesis import strategies as st

from contractcourt.bitcoin.block import BlockSpend, parse_header, spends_of, walk
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut, compact_size
from contractcourt.errors import MalformedBlock
from contractcourt.units import HexBytes
from tests.contractcourt.bitcoin.test_transaction import TRANSACTIONS
from tests.ldk_fixtures import LdkFixture, fixture_names
from tests.vectors import vectors

HEADER = bytes(80)


def block_of(*transactions: Transaction) -> bytes:
    parts = [tx.serialize() for tx in transactions]
    return HEADER + compact_size(len(parts)) + b"".join(parts)


def read_patiently(transactions: list[Transaction], watched: set[OutPoint]) -> list[BlockSpend]:
    return [
        BlockSpend(item.outpoint, index, tx.txid(), HexBytes(tx.serialize()))
        for index, tx in enumerate(transactions)
        for item in tx.inputs
        if item.outpoint in watched
    ]


@given(st.lists(TRANSACTIONS, min_size=1, max_size=6), st.data())
def test_spends_are_those_of_a_patient_reader(
    transactions: list[Transaction], data: st.DataObject
) -> None:
    everything = sorted({item.outpoint for tx in transactions for item in tx.inputs})
    watched = set(data.draw(st.lists(st.sampled_from(everything))))
    raw = block_of(*transactions)
    assert spends_of(raw, watched) == read_patiently(transactions, watched)
    header, walked = walk(raw)
    assert header == parse_header(raw)
    for index, (found, tx) in enumerate(zip(walked, transactions, strict=True)):
        assert (found.index, found.raw, found.txid()) == (index, tx.serialize(), tx.txid())
        assert found.spends == tuple(item.outpoint for item in tx.inputs)


@pytest.mark.parametrize("name", fixture_names())
def test_every_recorded_block(name: str) -> None:
    """LDK's regtest chains, with btclib as the patient reader."""
    recording = LdkFixture.load(name)
    raw_blocks = recording.blocks()
    spent: list[OutPoint] = []
    for raw in raw_blocks:
        theirs = Block.parse(raw, check_validity=False)
        header, walked = walk(raw)
        assert header.hash.hex() == theirs.header.hash.hex()
        assert header.prev_hash.hex() == theirs.header.previous_block_hash.hex()
        assert header.time == int(theirs.header.time.timestamp())
        found = list(walked)
        assert [tx.txid().hex() for tx in found] == [tx.id.hex() for tx in theirs.transactions]
        for tx, theirs_tx in zip(found, theirs.transactions, strict=True):
            assert tx.spends == tuple(
                item.prev_out.serialize(check_validity=False) for item in theirs_tx.vin
            )
            spent += [OutPoint(outpoint) for outpoint in tx.spends]
    watched = set(spent[::2])
    for raw in raw_blocks:
        transactions = [Transaction.parse(tx.raw) for tx in walk(raw)[1]]
        assert spends_of(raw, watched) == read_patiently(transactions, watched)


@pytest.mark.parametrize("name", fixture_names())
def test_the_close_is_found_at_its_height(name: str) -> None:
    recording = LdkFixture.load(name)
    watched = {recording.channel.funding_outpoint}
    spends = {
        height: found
        for height, raw in enumerate(recording.blocks(), start=1)
        if (found := spends_of(raw, watched))
    }
    (height,) = spends
    (spend,) = spends[height]
    assert height == recording.document["closing_tx"]["height"]
    assert spend.txid.hex() == recording.document["closing_tx"]["txid"]
    assert spend.raw_tx.hex() == recording.document["closing_tx"]["hex"]


def test_the_first_block_of_appendix_b() -> None:
    told = vectors()["appendix_b_funding_transaction"]
    raw = bytes.fromhex(told["block1_hex"])
    header, walked = walk(raw)
    (coinbase,) = walked
    assert coinbase.raw.hex() == told["block1_coinbase_tx_hex"]
    genesis = parse_header(bytes.fromhex(told["block0_genesis_hex"]))
    assert header.prev_hash == genesis.hash


def big_transaction() -> Transaction:
    """Every count and length of it needs three bytes, one length five."""
    inputs = tuple(
        TxIn(OutPoint(n.to_bytes(36, "big")), bytes(300), n, (bytes(300),) * (260 if n == 0 else 1))
        for n in range(260)
    )
    outputs = (*(TxOut(n, bytes(260)) for n in range(260)), TxOut(1, bytes(70_000)))
    return Transaction(2, inputs, outputs, 7)


def test_big_counts_and_lengths() -> None:
    big = big_transaction()
    small = [Transaction(1, (TxIn(OutPoint(bytes(36))),), (TxOut(n, b""),)) for n in range(300)]
    raw = block_of(*small, big)
    watched = {big.inputs[259].outpoint}
    (spend,) = spends_of(raw, watched)
    assert spend == BlockSpend(big.inputs[259].outpoint, 300, big.txid(), HexBytes(big.serialize()))


def small_block() -> bytes:
    item = TxIn(OutPoint(bytes(36)), b"\x51", witness=(b"\x01" * 20, b""))
    bare = Transaction(1, (TxIn(OutPoint(bytes(36))),), (TxOut(5, b"\x51"),))
    return block_of(bare, Transaction(2, (item, item), (TxOut(5, b"\x51"),) * 2))


def test_every_cut_is_refused() -> None:
    raw = small_block()
    assert spends_of(raw, set()) == []
    for end in range(len(raw)):
        with pytest.raises(MalformedBlock):
            spends_of(raw[:end], set())
        with pytest.raises(MalformedBlock):
            list(walk(raw[:end])[1])
    with pytest.raises(MalformedBlock, match="left over"):
        spends_of(raw + b"\x00", set())
    with pytest.raises(MalformedBlock, match="left over"):
        list(walk(raw + b"\x00")[1])


@pytest.mark.parametrize(
    "raw",
    [
        HEADER + b"\x00",
        HEADER + b"\x01" + b"\x02\x00\x00\x00" + b"\x00\x02" + bytes(60),
        HEADER + b"\xff" + b"\xff" * 8,
        HEADER + b"\x01" + bytes(4) + b"\xfe" + b"\xff" * 4 + bytes(200),
    ],
)
def test_what_is_no_block(raw: bytes) -> None:
    with pytest.raises(MalformedBlock):
        spends_of(raw, set())


@given(st.binary(max_size=400))
def test_arbitrary_bytes_raise_nothing_else(tail: bytes) -> None:
    for raw in (tail, HEADER + tail, HEADER + b"\x01" + tail):
        try:
            spends_of(raw, {OutPoint(bytes(36))})
        except MalformedBlock:
            continue


@given(st.data())
def test_a_damaged_block_raises_nothing_else(data: st.DataObject) -> None:
    raw = bytearray(small_block())
    raw[data.draw(st.integers(80, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        list(walk(bytes(raw))[1])
        spends_of(bytes(raw), {OutPoint(bytes(36))})
    except MalformedBlock:
        return
