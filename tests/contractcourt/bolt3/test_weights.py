"""Appendix A, the fee example, and real transactions against the estimates."""

from __future__ import annotations

from typing import Any

import pytest

from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3 import weights
from contractcourt.units import FeeratePerKw, WeightUnits
from tests.ldk_fixtures import LdkFixture, fixture_names
from tests.vectors import commitment_cases, vectors

EXPECTED = vectors()["appendix_a_expected_weights"]


def fee_example() -> dict[str, Any]:
    example: dict[str, Any] = vectors()["fee_calculation_example"]
    return example


@pytest.mark.parametrize("anchors", [False, True])
def test_expected_weights(anchors: bool) -> None:
    suffix = "anchors" if anchors else "no_anchors"
    assert weights.commitment(0, anchors=anchors) == EXPECTED[f"commitment_base_{suffix}"]
    more = weights.commitment(3, anchors=anchors) - weights.commitment(0, anchors=anchors)
    assert more == 3 * EXPECTED["per_untrimmed_htlc_output"]
    assert weights.htlc_timeout(anchors=anchors) == EXPECTED[f"htlc_timeout_{suffix}"]
    assert weights.htlc_success(anchors=anchors) == EXPECTED[f"htlc_success_{suffix}"]


def test_the_fee_example() -> None:
    told, expected = fee_example(), fee_example()["expected"]
    feerate = FeeratePerKw(told["feerate_per_kw"])
    timeout, success = weights.htlc_timeout(anchors=False), weights.htlc_success(anchors=False)
    assert weights.fee(feerate, timeout) == expected["htlc_timeout_fee_sat"]
    assert weights.fee(feerate, success) == expected["htlc_success_fee_sat"]
    commitment = weights.commitment(2, anchors=False)
    assert commitment == expected["commitment_weight"]
    assert weights.fee(feerate, commitment) == expected["base_commitment_fee_sat"]


@pytest.mark.parametrize("case", commitment_cases(), ids=lambda case: case.name)
def test_no_commitment_of_the_vectors_weighs_more_than_expected(case: Any) -> None:
    kept = len(case.htlcs) - len(case.trimmed_ids)
    expected = weights.commitment(kept, anchors=case.channel.anchors)
    assert Transaction.parse(case.tx).weight() <= expected


def _estimate(path: str, role: str, anchors: bool) -> WeightUnits | None:
    match path:
        case "delayed":
            return weights.delayed_claim()
        case "revocation" if role == "to_local":
            return weights.revoked_delayed_claim()
        case "revocation":
            offered = role.startswith("htlc_offered")
            return weights.revoked_htlc_claim(offered_by_owner=offered, anchors=anchors)
        case "to_remote":
            return weights.to_remote_claim(anchors=anchors)
        case "anchor":
            return weights.anchor_claim()
        case "claim_preimage":
            return weights.preimage_claim(anchors=anchors)
        case "claim_timeout":
            return weights.timeout_claim(anchors=anchors)
        case _:
            return None


@pytest.mark.parametrize("name", fixture_names())
def test_recorded_claims_weigh_no_more_than_estimated_and_little_less(name: str) -> None:
    recording = LdkFixture.load(name)
    for confirmed in recording.document["confirmed"]:
        tx = Transaction.parse(bytes.fromhex(confirmed["hex"]))
        for spending, told in zip(tx.inputs, confirmed["inputs"], strict=True):
            path = told.get("path", "")
            estimate = _estimate(path, told["role"], recording.channel.anchors)
            if estimate is None:
                continue
            witness = sum(1 + len(item) for item in spending.witness)
            assert estimate - 8 <= weights.INPUT + 1 + witness <= estimate


def test_the_penalty_of_bolt_5() -> None:
    told = EXPECTED["bolt5_penalty_witness_bytes"]
    offered = weights.revoked_htlc_claim(offered_by_owner=True, anchors=False)
    received = weights.revoked_htlc_claim(offered_by_owner=False, anchors=False)
    assert offered - weights.INPUT == told["offered_htlc"]
    # BOLT 5 counts 139 bytes for the received script where BOLT 3 has 140.
    assert received - weights.INPUT == told["accepted_htlc"] + 1
    assert weights.revoked_delayed_claim() - weights.INPUT <= told["to_local"]
