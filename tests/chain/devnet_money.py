"""Transactions without keys for the devnet's tests: P2WSH outputs whose script is OP_TRUE."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from chain.devnet.errors import RpcError
from chain.devnet.process import DevnetProcess
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.script import p2wsh
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut

OP_TRUE = b"\x51"
ANYONE = bytes(p2wsh(OP_TRUE))
RBF = 0xFFFFFFFD


def fund(devnet: DevnetProcess, amount_sat: int = 100_000, *, mine: bool = True) -> OutPoint:
    """An output that anyone can spend, confirmed unless said otherwise."""
    outpoint = OutPoint.parse(devnet.rpc("devnet_fund", ANYONE.hex(), amount_sat))
    if mine:
        devnet.rpc("devnet_mine", 1)
    return outpoint


def spend(
    *outpoints: OutPoint,
    pays: int,
    script: bytes = ANYONE,
    sequence: int = RBF,
    locktime: int = 0,
    witness: tuple[bytes, ...] = (OP_TRUE,),
) -> Transaction:
    """A transaction from these outputs to one output of `pays` satoshi."""
    inputs = tuple(TxIn(item, b"", sequence, witness) for item in outpoints)
    return Transaction(2, inputs, (TxOut(pays, script),), locktime)


def send(devnet: DevnetProcess, tx: Transaction) -> str:
    return str(devnet.rpc("sendrawtransaction", tx.serialize().hex()))


@contextmanager
def refused(code: int, text: str) -> Iterator[None]:
    """The block inside raises RpcError with this number and a message that begins so."""
    with pytest.raises(RpcError) as caught:
        yield
    assert caught.value.code == code, caught.value
    assert caught.value.message.startswith(text), caught.value
