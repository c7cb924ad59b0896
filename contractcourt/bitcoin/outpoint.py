"""The name of one transaction output."""

from __future__ import annotations

from typing import Self

from contractcourt.units import Txid


class OutPoint(bytes):
    """An output by the transaction that made it and its index there.

    Held as the 36 bytes that stand in a transaction (txid in internal order, index little
    endian), so that a block walk compares bytes and builds nothing. Written `txid:vout` with the
    txid in display order, which for a channel is its channel point.
    """

    __slots__ = ()

    def __new__(cls, raw: bytes) -> Self:
        if len(raw) != 36:
            raise ValueError(f"an outpoint is 36 bytes, not {len(raw)}")
        return super().__new__(cls, raw)

    @classmethod
    def of(cls, txid: Txid, vout: int) -> Self:
        """The outpoint of output `vout` of `txid`. Raises ValueError beyond 32 bits."""
        if not 0 <= vout <= 0xFFFFFFFF:
            raise ValueError("the output index of an outpoint fits 32 bits")
        return cls(bytes(txid) + vout.to_bytes(4, "little"))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `txid:vout`. Raises ValueError when it is anything else."""
        txid, separator, vout = text.partition(":")
        if not separator or not (vout.isascii() and vout.isdigit()) or len(vout) > 10:
            raise ValueError("an outpoint is written txid:vout")
        return cls.of(Txid.parse(txid), int(vout))

    @property
    def txid(self) -> Txid:
        return Txid(self[:32])

    @property
    def vout(self) -> int:
        return int.from_bytes(self[32:], "little")

    def __str__(self) -> str:
        return f"{self.txid.hex()}:{self.vout}"

    def __repr__(self) -> str:
        return f"OutPoint({self})"
