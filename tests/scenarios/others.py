"""What others may bring into a block, as far as the law looks at it: spends and their outputs."""

from __future__ import annotations

import hashlib

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.script import p2wpkh
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.bolt3 import points
from contractcourt.units import Secret, Txid

_REPLACEABLE = 0xFFFFFFFD


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _wallet() -> bytes:
    """A script that is nobody's of the channel."""
    return bytes(p2wpkh(points.public_key(Secret(_digest("a stranger's wallet")))))


def taken(outpoint: OutPoint, value_sat: int = 1_000) -> Transaction:
    """Somebody spends this outpoint to a script that is not ours."""
    spends = TxIn(outpoint, b"", _REPLACEABLE, (b"\x30" * 71, b"\x01"))
    return Transaction(2, (spends,), (TxOut(value_sat, _wallet()),), 0)


def aggregated(*second_levels: Transaction) -> Transaction:
    """Second-level transactions in one, behind a coin that pays for them (H3, H4).

    SIGHASH_SINGLE binds each HTLC's input to the output at its own index, which is never 0 here.
    """
    coin = TxIn(OutPoint.of(Txid(_digest("a coin")), 0), b"", _REPLACEABLE, (b"\x30" * 71,))
    inputs = (coin, *(tx.inputs[0] for tx in second_levels))
    outputs = (TxOut(5_000, _wallet()), *(tx.outputs[0] for tx in second_levels))
    return Transaction(2, inputs, outputs, max(tx.locktime for tx in second_levels))
