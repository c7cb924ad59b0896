"""How an HTLC output was taken, told by every witness that the court itself would make."""

from __future__ import annotations

import pytest

from contractcourt.bolt3 import scripts, witness
from contractcourt.bolt3.htlc_spends import HtlcSpendKind, read_htlc_spend
from contractcourt.bolt3.keys import commitment_keys
from contractcourt.channel import Side
from contractcourt.units import PaymentHash, Script
from tests.vectors import common_channel, common_htlc, key, preimage, secrets

SIGNATURE = bytes(71)
KEYS = commitment_keys(common_channel(), Side.LOCAL, key(secrets()["local_per_commitment_point"]))
HTLC = common_htlc(4)
PREIMAGE = preimage(4)
PAIR = (KEYS.revocation, KEYS.owner_htlc, KEYS.other_htlc)


def script_of(*, offered: bool, anchors: bool = False) -> Script:
    if offered:
        return scripts.offered_htlc(*PAIR, HTLC.payment_hash, anchors)
    return scripts.received_htlc(*PAIR, HTLC.payment_hash, HTLC.cltv_expiry, anchors)


@pytest.mark.parametrize("anchors", [False, True])
def test_an_htlc_that_the_owner_offered(anchors: bool) -> None:
    script = script_of(offered=True, anchors=anchors)
    expected = {
        witness.htlc_timeout(SIGNATURE, SIGNATURE, script): HtlcSpendKind.HTLC_TIMEOUT,
        witness.preimage_claim(SIGNATURE, PREIMAGE, script): HtlcSpendKind.PREIMAGE_CLAIM,
        witness.revoked_htlc(SIGNATURE, KEYS.revocation, script): HtlcSpendKind.REVOCATION,
    }
    for items, kind in expected.items():
        spend = read_htlc_spend(items, offered_by_owner=True)
        assert spend is not None
        assert spend.kind is kind


@pytest.mark.parametrize("anchors", [False, True])
def test_an_htlc_that_the_owner_received(anchors: bool) -> None:
    script = script_of(offered=False, anchors=anchors)
    expected = {
        witness.htlc_success(SIGNATURE, SIGNATURE, PREIMAGE, script): HtlcSpendKind.HTLC_SUCCESS,
        witness.timeout_claim(SIGNATURE, script): HtlcSpendKind.TIMEOUT_CLAIM,
        witness.revoked_htlc(SIGNATURE, KEYS.revocation, script): HtlcSpendKind.REVOCATION,
    }
    for items, kind in expected.items():
        spend = read_htlc_spend(items, offered_by_owner=False)
        assert spend is not None
        assert spend.kind is kind


def test_only_the_preimage_of_the_payment_is_revealed() -> None:
    script = script_of(offered=True)
    spend = read_htlc_spend(
        witness.preimage_claim(SIGNATURE, PREIMAGE, script), offered_by_owner=True
    )
    assert spend is not None
    assert spend.reveals(HTLC.payment_hash) == PREIMAGE
    assert spend.reveals(PaymentHash(bytes(32))) is None


def test_another_key_in_the_place_of_the_revocation_key_is_a_timeout_claim() -> None:
    """The script takes any item that is not 32 bytes; 33 bytes alone prove nothing."""
    script = script_of(offered=False)
    items = witness.revoked_htlc(SIGNATURE, KEYS.other_htlc, script)
    spend = read_htlc_spend(items, offered_by_owner=False)
    assert spend is not None
    assert spend.kind is HtlcSpendKind.TIMEOUT_CLAIM


@pytest.mark.parametrize("items", [(), (b"script",), (b"",) * 4, (b"",) * 7])
def test_what_fits_no_branch_says_nothing(items: tuple[bytes, ...]) -> None:
    assert read_htlc_spend(items, offered_by_owner=True) is None
    assert read_htlc_spend(items, offered_by_owner=False) is None
