"""The keys of one commitment from the basepoints of a channel (BOLT 3, "Key Derivation")."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

import coincurve

from contractcourt.bolt3.points import public_key, to_curve, to_scalar
from contractcourt.errors import InvalidPoint
from contractcourt.units import PublicKey

#: So many public keys, and no secrets, are kept: every HTLC of a commitment asks for the same.
_KEPT = 2048


@lru_cache(_KEPT)
def derive_public_key(basepoint: bytes, per_commitment_point: bytes) -> PublicKey:
    """The HTLC or delayed key of a commitment (rule B5).

    Raises InvalidPoint when either is not a point.
    """
    to_curve(per_commitment_point)
    tweak = sha256(per_commitment_point + basepoint).digest()
    return PublicKey(to_curve(basepoint).add(tweak).format())


def derive_private_key(base_secret: bytes, per_commitment_point: bytes) -> bytes:
    """The 32-byte secret of `derive_public_key`."""
    to_curve(per_commitment_point)
    tweak = sha256(per_commitment_point + public_key(base_secret)).digest()
    return to_scalar(base_secret).add(tweak, update=True).secret


@lru_cache(_KEPT)
def derive_revocation_public_key(
    revocation_basepoint: bytes, per_commitment_point: bytes
) -> PublicKey:
    """The revocation key of a commitment (rule B6).

    Args:
        revocation_basepoint: of the side that does not own the commitment.
        per_commitment_point: of the owner.

    Raises InvalidPoint when either is not a point.
    """
    base_tweak, point_tweak = _revocation_tweaks(revocation_basepoint, per_commitment_point)
    base = to_curve(revocation_basepoint).multiply(base_tweak)
    point = to_curve(per_commitment_point).multiply(point_tweak)
    try:
        return PublicKey(coincurve.PublicKey.combine_keys([base, point]).format())
    except ValueError:
        raise InvalidPoint("the two revocation points cancel each other out") from None


def derive_revocation_private_key(
    revocation_base_secret: bytes, per_commitment_secret: bytes
) -> bytes:
    """The 32-byte secret of `derive_revocation_public_key`, once the owner revealed its secret."""
    base_tweak, point_tweak = _revocation_tweaks(
        public_key(revocation_base_secret), public_key(per_commitment_secret)
    )
    base, point = to_scalar(revocation_base_secret), to_scalar(per_commitment_secret)
    base.multiply(base_tweak, update=True)
    point.multiply(point_tweak, update=True)
    return base.add(point.secret, update=True).secret


def _revocation_tweaks(basepoint: bytes, point: bytes) -> tuple[bytes, bytes]:
    return sha256(basepoint + point).digest(), sha256(point + basepoint).digest()
