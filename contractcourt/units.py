"""Units and byte orders as types, so that no satoshi is ever read as a millisatoshi.

Numbers are `NewType`s over `int`; byte strings are subclasses of `bytes` that know how they
are written at the edges (JSON, SQL text, pages): plain hex for all of them, display order
(reversed) for the two hashes that Bitcoin shows reversed.
"""

from __future__ import annotations

from binascii import unhexlify
from typing import NewType, Self

Satoshi = NewType("Satoshi", int)
Millisatoshi = NewType("Millisatoshi", int)
BlockHeight = NewType("BlockHeight", int)
#: A number of blocks, not a height: a CSV delay or a depth.
Blocks = NewType("Blocks", int)
#: Satoshi for 1000 weight units (BOLT 3, "Fee Calculation").
FeeratePerKw = NewType("FeeratePerKw", int)
WeightUnits = NewType("WeightUnits", int)


class HexBytes(bytes):
    """Bytes that are written as lower-case hex in their own order."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the written form. Raises ValueError when `text` is not hex of whole bytes."""
        try:
            return cls(unhexlify(text))
        except ValueError:
            raise ValueError("not a hex string of whole bytes") from None

    def __str__(self) -> str:
        return self.hex()


class Script(HexBytes):
    """A scriptPubKey or witness script."""

    __slots__ = ()


class PublicKey(HexBytes):
    """A compressed secp256k1 point, 33 bytes."""

    __slots__ = ()


class Signature(HexBytes):
    """A compact ECDSA signature, 64 bytes r || s, as Lightning sends it."""

    __slots__ = ()


class PaymentHash(HexBytes):
    """SHA256 of a preimage, 32 bytes."""

    __slots__ = ()


class Secret(HexBytes):
    """32 bytes that were secret once: a preimage or a revealed per-commitment secret."""

    __slots__ = ()


class _ReversedHash(bytes):
    """A 32-byte hash held in internal order, written in display (reversed) order."""

    __slots__ = ()

    def __new__(cls, internal: bytes) -> Self:
        if len(internal) != 32:
            raise ValueError(f"a {cls.__name__} is 32 bytes, not {len(internal)}")
        return super().__new__(cls, internal)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read display-order hex. Raises ValueError unless it is 64 hex digits."""
        return cls(HexBytes.parse(text)[::-1])

    def hex(self, *_: object) -> str:
        """Display-order hex."""
        return self[::-1].hex()

    def __str__(self) -> str:
        return self.hex()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex()})"


class Txid(_ReversedHash):
    """A transaction id: internal bytes inside, `.hex()` is the display order."""

    __slots__ = ()


class BlockHash(_ReversedHash):
    """A block hash: internal bytes inside, `.hex()` is the display order."""

    __slots__ = ()
