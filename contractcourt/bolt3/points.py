"""Points, secrets and signatures on secp256k1, by libsecp256k1 through coincurve."""

from __future__ import annotations

import coincurve
from coincurve.context import GLOBAL_CONTEXT
from coincurve.utils import validate_secret

from contractcourt.errors import InvalidPoint, InvalidSignature
from contractcourt.units import PublicKey, Signature


class Scalar(coincurve.PrivateKey):
    """A secret to sign with, or to tweak in place (`update=True`).

    The library's own works out two points when it is made and one more with each tweak, which
    costs more than the signature. Whoever wants the point asks `public_key` of this module.
    """

    def __init__(self, secret: bytes) -> None:
        self.secret = validate_secret(secret)
        self.context = GLOBAL_CONTEXT

    def _update_public_key(self) -> None:
        """There is none to update."""


def parse_point(raw: bytes) -> PublicKey:
    """`raw` as a compressed point. Raises InvalidPoint when it is none."""
    to_curve(raw)
    return PublicKey(raw)


def to_curve(raw: bytes) -> coincurve.PublicKey:
    """The point as the curve library holds it. Raises InvalidPoint when `raw` is none."""
    if len(raw) != 33:
        raise InvalidPoint(f"a compressed point is 33 bytes, not {len(raw)}")
    try:
        return coincurve.PublicKey(bytes(raw))
    except ValueError:
        raise InvalidPoint(f"{raw.hex()} is not a point on secp256k1") from None


def to_scalar(secret: bytes) -> Scalar:
    """A secret as the curve library holds it. Raises InvalidPoint when no point belongs to it."""
    if len(secret) != 32:
        raise InvalidPoint(f"a secret is 32 bytes, not {len(secret)}")
    try:
        return Scalar(bytes(secret))
    except ValueError:
        raise InvalidPoint("a secret is zero or beyond the curve's order") from None


def public_key(secret: bytes) -> PublicKey:
    """The point of a 32-byte secret. Raises InvalidPoint when the secret is out of range."""
    if len(secret) != 32:
        raise InvalidPoint(f"a secret is 32 bytes, not {len(secret)}")
    try:
        return PublicKey(coincurve.PublicKey.from_valid_secret(bytes(secret)).format())
    except ValueError:
        raise InvalidPoint("a secret is zero or beyond the curve's order") from None


def sign(secret: bytes, digest: bytes) -> Signature:
    """Sign a 32-byte digest; low s, nonce by RFC 6979, so that the same input signs the same.

    Raises InvalidPoint when the secret is out of range.
    """
    return from_der(to_scalar(secret).sign(digest, hasher=None))


def verify(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether a compact signature of a 32-byte digest is good, its s low.

    False, not an error, for a signature or key that is none: both come from the peer.
    """
    try:
        point = to_curve(public_key)
        return point.verify(der(signature), digest, hasher=None)
    except (InvalidPoint, InvalidSignature, ValueError):
        return False


def der(signature: bytes) -> bytes:
    """A compact signature in DER, as a witness holds it (without the sighash byte).

    Raises InvalidSignature unless it is 64 bytes.
    """
    if len(signature) != 64:
        raise InvalidSignature(f"a compact signature is 64 bytes, not {len(signature)}")
    body = _der_integer(signature[:32]) + _der_integer(signature[32:])
    return bytes([0x30, len(body)]) + body


def _der_integer(big_endian: bytes) -> bytes:
    number = int.from_bytes(big_endian, "big")
    # One bit more than the number needs: the highest bit is the sign.
    raw = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return bytes([0x02, len(raw)]) + raw


def from_der(encoded: bytes) -> Signature:
    """The compact form of a DER signature (without sighash byte).

    Raises InvalidSignature when it is not strict DER of two numbers below 2^256.
    """
    signature = Signature(_read_der(bytes(encoded)))
    if der(signature) != encoded:
        raise InvalidSignature("this signature is not in strict DER")
    return signature


def _read_der(encoded: bytes) -> bytes:
    try:
        r_end = 4 + encoded[3]
        r, s = encoded[4:r_end], encoded[r_end + 2 :]
        return b"".join(int.from_bytes(part, "big").to_bytes(32, "big") for part in (r, s))
    except (IndexError, OverflowError):
        raise InvalidSignature("this signature is not in DER") from None
