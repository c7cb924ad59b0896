"""BIP 32 private derivation, with the deviation that lnd's wallet has carried since its birth.

btcwallet derives with a known mistake of an old btcutil: a private key whose leading bytes are
zero was kept without them, and a hardened child then hashes that key shifted to the left. About
one key in 256 is affected. lnd's coins lie at the addresses so derived, so its rule is kept here
exactly; a standard derivation is one flag away.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from coincurve import PrivateKey

from workers.signer.errors import MalformedKeyDocument

HARDENED = 0x8000_0000

#: Version bytes of a serialised private key: xprv (mainnet) and tprv (every test chain).
_VERSIONS = {bytes.fromhex("0488ade4"): True, bytes.fromhex("04358394"): False}
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_SERIALISED_LENGTH = 78


@dataclass(frozen=True, slots=True)
class ExtendedKey:
    """A private key with its chain code. Neither is shown by `repr`."""

    secret: bytes = field(repr=False)
    chain_code: bytes = field(repr=False)
    depth: int = 0

    @classmethod
    def master(cls, seed: bytes) -> ExtendedKey:
        """The root of a seed (BIP 32, "Master key generation")."""
        digest = hmac.digest(b"Bitcoin seed", seed, "sha512")
        return cls(digest[:32], digest[32:])

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
            material = PrivateKey(self.secret).public_key.format()
        digest = hmac.digest(self.chain_code, material + index.to_bytes(4, "big"), "sha512")
        secret = PrivateKey(self.secret).add(digest[:32]).secret
        return ExtendedKey(secret, digest[32:], self.depth + 1)


def parse_extended_key(text: str) -> tuple[ExtendedKey, bool]:
    """Read a serialised private key (xprv or tprv).

    Returns the key and whether it is a mainnet key.

    Raises:
        MalformedKeyDocument: bad Base58, checksum, version or length, a public key, or a key
            that is no root. The message never holds the text.
    """
    raw = _base58check(text)
    mainnet = _VERSIONS.get(raw[:4])
    if mainnet is None or len(raw) != _SERIALISED_LENGTH:
        raise MalformedKeyDocument("lnd_root_key is not a serialised private key (xprv or tprv)")
    depth, chain_code, marker, secret = raw[4], raw[13:45], raw[45], raw[46:]
    if depth != 0 or raw[5:13] != bytes(8):
        raise MalformedKeyDocument("lnd_root_key is not a root: give the key at path m")
    if marker != 0:
        raise MalformedKeyDocument("lnd_root_key does not hold a private key")
    try:
        PrivateKey(secret)
    except ValueError:
        raise MalformedKeyDocument("lnd_root_key does not hold a valid private key") from None
    return ExtendedKey(secret, chain_code), mainnet


def _base58check(text: str) -> bytes:
    number = 0
    if len(text) > 120:
        raise MalformedKeyDocument("lnd_root_key is too long for a serialised private key")
    for character in text:
        digit = _BASE58.find(character)
        if digit < 0:
            raise MalformedKeyDocument("lnd_root_key is not Base58 text")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip("1"))
    raw = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    body, checksum = raw[:-4], raw[-4:]
    expected = hashlib.sha256(hashlib.sha256(body).digest()).digest()[:4]
    if not hmac.compare_digest(checksum, expected):
        raise MalformedKeyDocument("the checksum of lnd_root_key is wrong: copy it again")
    return body
