"""Signature hashes against btclib, and the funding transaction of appendix B, signed."""

from __future__ import annotations

from itertools import product

import pytest
from btclib.script.sig_hash import legacy as btclib_legacy
from btclib.script.sig_hash import segwit_v0 as btclib_segwit_v0
from btclib.tx.tx import Tx
from hypothesis import given
from hypothesis import strategies as st

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.script import p2wpkh_script_code, p2wsh, push
from contractcourt.bitcoin.sighash import (
    SIGHASH_ALL,
    SIGHASH_ANYONECANPAY,
    SIGHASH_NONE,
    SIGHASH_SINGLE,
    segwit_v0,
)
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.bolt3.points import der, public_key, sign
from contractcourt.bolt3.scripts import funding_script
from contractcourt.units import Txid
from tests.contractcourt.bitcoin.test_transaction import TRANSACTIONS
from tests.vectors import key, vectors

FUNDING = vectors()["appendix_b_funding_transaction"]
TYPES = [
    base | flag
    for base, flag in product(
        (SIGHASH_ALL, SIGHASH_NONE, SIGHASH_SINGLE), (0, SIGHASH_ANYONECANPAY)
    )
]


@pytest.mark.parametrize("sighash_type", TYPES)
@given(
    tx=TRANSACTIONS,
    code=st.binary(max_size=300),
    value=st.integers(0, 1 << 50),
    position=st.integers(0, 100),
)
def test_btclib_hashes_the_same(
    sighash_type: int, tx: Transaction, code: bytes, value: int, position: int
) -> None:
    index = position % len(tx.inputs)
    theirs = Tx.parse(tx.serialize(with_witness=False), check_validity=False)
    expected = btclib_segwit_v0(code, theirs, index, sighash_type, value)
    assert segwit_v0(tx, index, code, value, sighash_type) == expected


def test_the_native_p2wpkh_example_of_bip_143() -> None:
    tx = Transaction.parse(
        bytes.fromhex(
            "0100000002fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f00000000"
            "00eeffffffef51e1b804cc89d182d279655c3aa89e815b1b309fe287d9b2b55d57b90ec68a01000000"
            "00ffffffff02202cb206000000001976a9148280b37df378db99f66f85c95a783a76ac7a6d5988ac90"
            "93510d000000001976a9143bde42dbee7e4dbe6a21b2d50ce2f0167faa815988ac11000000"
        )
    )
    public = bytes.fromhex("025476c2e83188368da1ff3e292e7acafcdb3566bb0ad253f62fc70f07aeee6357")
    digest = segwit_v0(tx, 1, p2wpkh_script_code(public), 600_000_000, SIGHASH_ALL)
    assert digest.hex() == "c37af31116d1b27caf68aae9e3ac82f1477929014d5b917657d0eb49478cb670"


def test_there_is_no_hash_for_an_input_that_is_not_there() -> None:
    tx = Transaction.parse(bytes.fromhex(FUNDING["funding_tx_hex"]))
    with pytest.raises(IndexError):
        segwit_v0(tx, 1, b"", 0, SIGHASH_ALL)


def test_the_funding_transaction_of_appendix_b() -> None:
    """Byte for byte, its input signed by the key of block 1's coinbase (P2PKH)."""
    secret = bytes.fromhex(FUNDING["block1_coinbase_privkey"])
    script = funding_script(
        key(FUNDING["remote_funding_pubkey"]), key(FUNDING["local_funding_pubkey"])
    )
    assert str(script) == FUNDING["funding_witness_script"]
    expected = Transaction.parse(bytes.fromhex(FUNDING["funding_tx_hex"]))
    change = expected.outputs[1 - FUNDING["funding_output_index"]]
    outputs = [TxOut(FUNDING["funding_satoshis"], p2wsh(script))]
    outputs.insert(
        1 - FUNDING["funding_output_index"],
        TxOut(FUNDING["change_satoshis"], change.script_pubkey),
    )
    outpoint = OutPoint.of(Txid.parse(FUNDING["input_txid"]), FUNDING["input_index"])
    unsigned = Transaction(2, (TxIn(outpoint),), tuple(outputs))
    spent = p2wpkh_script_code(public_key(secret))
    digest = btclib_legacy(spent, Tx.parse(unsigned.serialize()), 0, SIGHASH_ALL)
    signature = der(sign(secret, digest)) + bytes([SIGHASH_ALL])
    script_sig = push(signature) + push(public_key(secret))
    signed = Transaction(2, (TxIn(outpoint, script_sig),), tuple(outputs))
    assert signed.serialize().hex() == FUNDING["funding_tx_hex"]
    assert signed.txid().hex() == FUNDING["funding_txid"]
