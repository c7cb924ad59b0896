"""BIP 32 private derivation, with the deviation that lnd's wallet has carried since its birth.

btcwallet derives with a known mistake of an old btcutil: a private key whose leading bytes are
zero was kept without them, and a hardened child then hashes that key shifted to the left. About
one key in 256 is affected. lnd's coins lie at the addresses so derived, so its rule is kept here
exactly; a standard derivation is one flag away.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from functools import cached_property

from contractcourt.bitcoin import base58
from contractcourt.bolt3 import points
from contractcourt.errors import InvalidPoint
from contractcourt.units import PublicKey
from workers.signer.errors import MalformedKeyDocument

HARDENED = 0x8000_0000

#: Version bytes of a serialised private key: xprv (mainnet) and tprv (every test chain).
_VERSIONS = {bytes.fromhex("0488ade4"): True, bytes.fromhex("04358394"): False}
_SERIALISED_LENGTH = 78


@dataclass(frozen=True)
class ExtendedKey:
    """A private key with its chain code. Neither is shown by `repr`."""

    secret: bytes = field(repr=False)
    chain_code: bytes = field(repr=False)
    depth: int = 0

    def child(self, index: int, *, unpadded: bool = False) -> ExtendedKey:
        """Child `index`; `index >= HARDENED` is a hardened one.

        Args:
            unpadded: hash a key with leading zero bytes the way btcwallet does.
        Raises:
            ValueError: this child does not exist (chance 2^-127; BIP 32 says take the next).
        """
        if index >= HARDENED:
            material = b"\x00" + (self.secret.lstrip(b"\x00") if unpadded else self.secret)
            material = material.ljust(33, b"\x00")
        else:
            material = self._public_key
        digest = hmac.digest(self.chain_code, material + index.to_bytes(4, "big"), "sha512")
        secret = points.to_scalar(self.secret).add(digest[:32], update=True).secret
        return ExtendedKey(secret, digest[32:], self.depth + 1)

    @cached_property
    def _public_key(self) -> PublicKey:
        # All channels of an lnd node are children of the same few keys.
        return points.public_key(self.secret)


def parse_extended_key(text: str, name: str) -> tuple[ExtendedKey, bool]:
    """Read a serialised private key (xprv or tprv) of any depth.

    Returns the key and whether it is a mainnet key.

    Args:
        name: the field it stands in, for messages.

    Raises:
        MalformedKeyDocument: bad Base58, checksum, version or length, or a public key. The
            message never holds the text.
    """
    raw = base58check(text, name)
    mainnet = _VERSIONS.get(raw[:4])
    if mainnet is None or len(raw) != _SERIALISED_LENGTH:
        raise MalformedKeyDocument(f"{name} is not a serialised private key (xprv or tprv)")
    depth, chain_code, marker, secret = raw[4], raw[13:45], raw[45], raw[46:]
    if depth == 0 and raw[5:13] != bytes(8):
        raise MalformedKeyDocument(f"{name} is a root with a parent: copy it again")
    if marker != 0:
        raise MalformedKeyDocument(f"{name} does not hold a private key")
    try:
        points.to_scalar(secret)
    except InvalidPoint:
        raise MalformedKeyDocument(f"{name} does not hold a valid private key") from None
    return ExtendedKey(secret, chain_code, depth), mainnet


def base58check(text: str, name: str) -> bytes:
    """The payload of Base58Check text in the field `name`. Raises MalformedKeyDocument."""
    try:
        return base58.decode(text)
    except base58.WrongChecksum:
        raise MalformedKeyDocument(f"the checksum of {name} is wrong: copy it again") from None
    except ValueError:
        raise MalformedKeyDocument(f"{name} is not Base58 text of a key") from None
