"""Appendix E, and what is refused: keys from basepoints."""

from __future__ import annotations

import pytest

from contractcourt.bolt3.derivation import (
    derive_private_key,
    derive_public_key,
    derive_revocation_private_key,
    derive_revocation_public_key,
)
from contractcourt.bolt3.keys import commitment_keys
from contractcourt.bolt3.points import public_key
from contractcourt.channel import Side
from contractcourt.errors import InvalidPoint
from tests.vectors import common, common_channel, key, secrets, vectors

APPENDIX = vectors()["appendix_e_key_derivation"]
BASE_SECRET = bytes.fromhex(APPENDIX["base_secret"])
COMMITMENT_SECRET = bytes.fromhex(APPENDIX["per_commitment_secret"])
BASE_POINT = key(APPENDIX["base_point"])
COMMITMENT_POINT = key(APPENDIX["per_commitment_point"])
EXPECTED = {
    name: bytes.fromhex(value)
    for case in APPENDIX["cases"]
    for name, value in case.items()
    if name not in ("name", "intermediate")
}


def test_the_points_are_those_of_the_secrets() -> None:
    assert public_key(BASE_SECRET) == BASE_POINT
    assert public_key(COMMITMENT_SECRET) == COMMITMENT_POINT


def test_appendix_e() -> None:
    assert {
        "localpubkey": derive_public_key(BASE_POINT, COMMITMENT_POINT),
        "localprivkey": derive_private_key(BASE_SECRET, COMMITMENT_POINT),
        "revocationpubkey": derive_revocation_public_key(BASE_POINT, COMMITMENT_POINT),
        "revocationprivkey": derive_revocation_private_key(BASE_SECRET, COMMITMENT_SECRET),
    } == EXPECTED


def test_private_and_public_keys_belong_together() -> None:
    private = derive_private_key(BASE_SECRET, COMMITMENT_POINT)
    assert public_key(private) == derive_public_key(BASE_POINT, COMMITMENT_POINT)
    revocation = derive_revocation_private_key(BASE_SECRET, COMMITMENT_SECRET)
    assert public_key(revocation) == derive_revocation_public_key(BASE_POINT, COMMITMENT_POINT)


def test_the_keys_of_the_common_commitment() -> None:
    """Appendix C prints the derived keys of its commitment."""
    point = key(secrets()["local_per_commitment_point"])
    keys = commitment_keys(common_channel(), Side.LOCAL, point)
    assert keys.revocation == key(common()["local_revocation_pubkey"])
    assert keys.delayed == key(common()["local_delayedpubkey"])
    assert keys.owner_htlc == key(common()["local_htlcpubkey"])
    assert keys.other_htlc == key(common()["remote_htlcpubkey"])
    assert keys.to_remote == key(common()["remote_payment_basepoint"])


@pytest.mark.parametrize("bad", [b"", bytes(33), b"\x04" + bytes(64), b"\x02" + b"\xff" * 32])
def test_what_is_no_point_is_refused(bad: bytes) -> None:
    for derive in (derive_public_key, derive_revocation_public_key):
        with pytest.raises(InvalidPoint):
            derive(bad, COMMITMENT_POINT)
        with pytest.raises(InvalidPoint):
            derive(BASE_POINT, bad)


@pytest.mark.parametrize("bad", [b"", bytes(32), b"\xff" * 32, bytes(31)])
def test_what_is_no_secret_is_refused(bad: bytes) -> None:
    with pytest.raises(InvalidPoint):
        derive_private_key(bad, COMMITMENT_POINT)
    with pytest.raises(InvalidPoint):
        derive_revocation_private_key(BASE_SECRET, bad)
