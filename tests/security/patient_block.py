"""A block read one field after the other, slow and plain: what `spends_of` is held against."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from io import BytesIO

from contractcourt.bitcoin.block import BlockSpend
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import sha256d
from contractcourt.units import HexBytes, Txid


class CutShort(Exception):
    """No block: it ends too early, or too late, or has no transaction or an unknown flag."""


@dataclass(frozen=True, slots=True)
class ReadTransaction:
    """Its bytes, its name and what it spends."""

    raw: bytes
    txid: Txid
    spends: tuple[OutPoint, ...]


class _Stream:
    def __init__(self, raw: bytes) -> None:
        self._stream = BytesIO(raw)
        self._size = len(raw)

    def at(self) -> int:
        return self._stream.tell()

    def take(self, size: int) -> bytes:
        if size > self._size - self.at():
            raise CutShort
        return self._stream.read(size)


def read_block(raw: bytes) -> list[ReadTransaction]:
    """Every transaction. Raises CutShort when this is no block."""
    stream = _Stream(raw)
    stream.take(80)
    left, _ = _counted(stream)
    if left == 0:
        raise CutShort
    transactions = []
    while left:
        transactions.append(_read_transaction(stream))
        left -= 1
    if stream.at() != len(raw):
        raise CutShort
    return transactions


def spends_among(raw: bytes, watched: Container[OutPoint]) -> list[BlockSpend]:
    """What `spends_of` has to answer. Raises CutShort where that must raise MalformedBlock."""
    return [
        BlockSpend(outpoint, index, tx.txid, HexBytes(tx.raw))
        for index, tx in enumerate(read_block(raw))
        for outpoint in tx.spends
        if outpoint in watched
    ]


def _read_transaction(stream: _Stream) -> ReadTransaction:
    version = stream.take(4)
    inputs, counted = _counted(stream)
    flag = b""
    if counted == b"\x00":
        flag = counted + stream.take(1)
        if flag != b"\x00\x01":
            raise CutShort
        inputs, counted = _counted(stream)
    body, spends = counted, []
    for _ in range(inputs):
        spends.append(OutPoint(stream.take(36)))
        body += spends[-1] + _with_length(stream) + stream.take(4)
    outputs, counted = _counted(stream)
    body += counted
    for _ in range(outputs):
        body += stream.take(8) + _with_length(stream)
    witnesses = b""
    for _ in range(inputs if flag else 0):
        items, counted = _counted(stream)
        witnesses += counted + b"".join(_with_length(stream) for _ in range(items))
    locktime = stream.take(4)
    raw = version + flag + body + witnesses + locktime
    return ReadTransaction(raw, Txid(sha256d(version + body + locktime)), tuple(spends))


def _counted(stream: _Stream) -> tuple[int, bytes]:
    """A number, and the bytes that it was written in."""
    first = stream.take(1)
    width = {0xFD: 2, 0xFE: 4, 0xFF: 8}.get(first[0], 0)
    rest = stream.take(width)
    return (int.from_bytes(rest, "little") if width else first[0]), first + rest


def _with_length(stream: _Stream) -> bytes:
    size, written = _counted(stream)
    return written + stream.take(size)
