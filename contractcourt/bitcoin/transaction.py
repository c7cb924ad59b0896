"""A Bitcoin transaction: read from bytes, written to bytes, named and weighed.

Reading is as strict as a node's: an accepted transaction serialises to the very bytes it was
read from. Nothing here judges validity beyond what no block could ever hold.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Self

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.errors import MalformedTransaction
from contractcourt.units import Txid, WeightUnits

#: All bitcoin that can ever be, in satoshi.
MAX_MONEY_SAT = 21_000_000 * 100_000_000

#: A byte outside the witness weighs four times one inside (BIP 141).
WITNESS_SCALE = 4

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class TxIn:
    """One spent output and what unlocks it."""

    outpoint: OutPoint
    script_sig: bytes = b""
    sequence: int = 0xFFFFFFFF
    witness: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class TxOut:
    """One new output. `value` in satoshi."""

    value: int
    script_pubkey: bytes

    def serialize(self) -> bytes:
        """As it stands in a transaction, and in the signature hashes."""
        return _U64.pack(self.value) + _with_length(self.script_pubkey)


@dataclass(frozen=True)
class Transaction:
    """A transaction, signed or not. An unsigned one has no witness on any input."""

    version: int
    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    locktime: int = 0

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read a whole transaction, with or without witness (BIP 144).

        Raises:
            MalformedTransaction: cut short, bytes left over, no inputs or outputs, a length not
                in its shortest form, an unknown or needless witness flag, an impossible amount.
        """
        reader = _Reader(bytes(raw))
        version = reader.u32()
        segwit = reader.peek() == 0
        if segwit and reader.take(2) != b"\x00\x01":
            raise MalformedTransaction("no inputs, or an unknown flag in place of the witness flag")
        bare = [reader.input() for _ in range(reader.count(smallest=41))]
        outputs = tuple(reader.output() for _ in range(reader.count(smallest=9)))
        if not bare or not outputs:
            raise MalformedTransaction("a transaction has at least one input and one output")
        inputs = tuple(reader.add_witness(item) for item in bare) if segwit else tuple(bare)
        if segwit and not any(item.witness for item in inputs):
            raise MalformedTransaction("the witness flag is set, but every witness is empty")
        locktime = reader.u32()
        reader.end()
        return cls(version, inputs, outputs, locktime)

    def serialize(self, *, with_witness: bool = True) -> bytes:
        """The bytes that go over the wire; without witness, the bytes that the txid names."""
        witnesses = with_witness and any(item.witness for item in self.inputs)
        parts = [_U32.pack(self.version), b"\x00\x01" if witnesses else b""]
        parts.append(compact_size(len(self.inputs)))
        for item in self.inputs:
            parts += (item.outpoint, _with_length(item.script_sig), _U32.pack(item.sequence))
        parts.append(compact_size(len(self.outputs)))
        parts += [output.serialize() for output in self.outputs]
        if witnesses:
            for item in self.inputs:
                parts.append(compact_size(len(item.witness)))
                parts += [_with_length(element) for element in item.witness]
        parts.append(_U32.pack(self.locktime))
        return b"".join(parts)

    def txid(self) -> Txid:
        """The name of this transaction, which no witness changes."""
        return self._txid

    @cached_property
    def _txid(self) -> Txid:
        # Asked for with each output of a commitment that may have hundreds.
        return Txid(sha256d(self.serialize(with_witness=False)))

    def witness_of(self, outpoint: OutPoint) -> tuple[bytes, ...]:
        """Of the input that spends `outpoint`, which has to be one of them."""
        return next(i.witness for i in self.inputs if i.outpoint == outpoint)

    def weight(self) -> WeightUnits:
        """Weight units (BIP 141)."""
        bare = len(self.serialize(with_witness=False))
        return WeightUnits(bare * (WITNESS_SCALE - 1) + len(self.serialize()))

    def vsize(self) -> int:
        """Virtual bytes, rounded up."""
        return -(-self.weight() // WITNESS_SCALE)


def sha256d(data: bytes) -> bytes:
    """SHA256 of SHA256, the hash of transactions and blocks."""
    return sha256(sha256(data).digest()).digest()


def compact_size(number: int) -> bytes:
    """A count or length as Bitcoin writes it, in its shortest form."""
    if number < 0xFD:
        return bytes([number])
    if number <= 0xFFFF:
        return b"\xfd" + number.to_bytes(2, "little")
    if number <= 0xFFFFFFFF:
        return b"\xfe" + number.to_bytes(4, "little")
    return b"\xff" + number.to_bytes(8, "little")


def _with_length(data: bytes) -> bytes:
    return compact_size(len(data)) + data


class _Reader:
    """A cursor over untrusted bytes: each step checks that what it reads is there."""

    __slots__ = ("_at", "_raw")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._raw):
            raise MalformedTransaction(f"cut short: byte {end} wanted, {len(self._raw)} are there")
        taken = self._raw[self._at : end]
        self._at = end
        return taken

    def peek(self) -> int:
        byte = self.take(1)[0]
        self._at -= 1
        return byte

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def compact_size(self) -> int:
        first = self.take(1)[0]
        if first < 0xFD:
            return first
        width = 1 << (first - 0xFC)
        number = int.from_bytes(self.take(width), "little")
        # The smallest number that needs this width: 0xfd, 2^16, 2^32.
        if number < (0xFD if width == 2 else 1 << (4 * width)):
            raise MalformedTransaction(f"a length of {number} is not in its shortest form")
        return number

    def count(self, smallest: int) -> int:
        """How many items of at least `smallest` bytes follow; never more than there is room for."""
        number = self.compact_size()
        if number * smallest > len(self._raw) - self._at:
            raise MalformedTransaction(f"cut short: {number} items cannot be in what is left")
        return number

    def bytes_with_length(self) -> bytes:
        return self.take(self.compact_size())

    def input(self) -> TxIn:
        outpoint = OutPoint(self.take(36))
        return TxIn(outpoint, self.bytes_with_length(), self.u32())

    def output(self) -> TxOut:
        value = int.from_bytes(self.take(8), "little")
        if value > MAX_MONEY_SAT:
            raise MalformedTransaction(f"an output of {value} sat is more than can ever be")
        return TxOut(value, self.bytes_with_length())

    def add_witness(self, bare: TxIn) -> TxIn:
        witness = tuple(self.bytes_with_length() for _ in range(self.count(smallest=1)))
        return TxIn(bare.outpoint, bare.script_sig, bare.sequence, witness)

    def end(self) -> None:
        if self._at != len(self._raw):
            raise MalformedTransaction(f"{len(self._raw) - self._at} bytes left over")
