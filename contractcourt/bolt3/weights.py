"""Weights and the fees that follow from them (BOLT 3, "Fees" and Appendix A). Weight units."""

from __future__ import annotations

from contractcourt.units import FeeratePerKw, Satoshi, WeightUnits

ANCHOR_SAT = Satoshi(330)
HTLC_OUTPUT = WeightUnits(172)


def commitment(kept_htlcs: int, *, anchors: bool) -> WeightUnits:
    """Expected weight of a commitment with this many HTLC outputs."""
    return WeightUnits((1124 if anchors else 724) + HTLC_OUTPUT * kept_htlcs)


def htlc_timeout(*, anchors: bool) -> WeightUnits:
    """Expected weight of an HTLC-timeout transaction."""
    return WeightUnits(666 if anchors else 663)


def htlc_success(*, anchors: bool) -> WeightUnits:
    """Expected weight of an HTLC-success transaction."""
    return WeightUnits(706 if anchors else 703)


def fee(feerate: FeeratePerKw, weight: WeightUnits) -> Satoshi:
    """Satoshi, rounded down, as BOLT 3 demands."""
    return Satoshi(feerate * weight // 1000)
