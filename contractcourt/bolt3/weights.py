"""Weights and the fees that follow from them (BOLT 3, "Fee Calculation" and Appendix A).

Two kinds that must not be mixed: what BOLT 3 fixes for both sides to agree on (`commitment`,
`htlc_timeout`, `htlc_success`; rule T3), and what a claim of ours will weigh at most
(`*_claim`), for choosing its fee.
"""

from __future__ import annotations

from contractcourt.units import FeeratePerKw, Satoshi, WeightUnits

ANCHOR_SAT = Satoshi(330)
HTLC_OUTPUT = WeightUnits(172)
#: What the 2-of-2 witness of a commitment adds: marker and flag, a count, an empty item, two
#: signatures, the script.
FUNDING_WITNESS = WeightUnits(2 + 1 + 1 + 2 * 74 + 72)

#: An input without its witness: outpoint, empty scriptSig and nSequence, 41 bytes.
INPUT = WeightUnits(164)

#: A DER signature with its sighash byte and its length, as BOLT 3 counts it.
_SIGNATURE = 1 + 73
_PUBLIC_KEY = 1 + 33
#: The count of witness items.
_COUNT = 1
#: Longest to_local script: revocation and delayed key, a delay of up to three bytes.
_TO_LOCAL_SCRIPT = 1 + 78
_TO_REMOTE_SCRIPT = 1 + 37
_ANCHOR_SCRIPT = 1 + 40
#: Both at their longest: the received one with an expiry of four bytes.
_OFFERED_SCRIPT = 1 + 133
_RECEIVED_SCRIPT = 1 + 140
#: CSV 1 DROP in HTLC scripts under anchors.
_ANCHORS_EXTRA = 3


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


def delayed_claim() -> WeightUnits:
    """An input that takes to_local or a second-level output after its delay."""
    return _claim(_SIGNATURE, 1, _TO_LOCAL_SCRIPT)


def revoked_delayed_claim() -> WeightUnits:
    """An input that takes a cheater's to_local or second-level output."""
    return _claim(_SIGNATURE, 2, _TO_LOCAL_SCRIPT)


def to_remote_claim(*, anchors: bool) -> WeightUnits:
    """An input that takes our main output on the peer's commitment."""
    return _claim(_SIGNATURE, _TO_REMOTE_SCRIPT if anchors else _PUBLIC_KEY)


def anchor_claim() -> WeightUnits:
    """An input that takes our anchor by its key."""
    return _claim(_SIGNATURE, _ANCHOR_SCRIPT)


def preimage_claim(*, anchors: bool) -> WeightUnits:
    """An input that takes, with the preimage, an HTLC the peer offered on its own commitment."""
    return _claim(_SIGNATURE, 1 + 32, _OFFERED_SCRIPT, _extra(anchors))


def timeout_claim(*, anchors: bool) -> WeightUnits:
    """An input that takes back our HTLC from the peer's commitment after its expiry."""
    return _claim(_SIGNATURE, 1, _RECEIVED_SCRIPT, _extra(anchors))


def revoked_htlc_claim(*, offered_by_owner: bool, anchors: bool) -> WeightUnits:
    """An input that takes an HTLC output of a revoked commitment."""
    script = _OFFERED_SCRIPT if offered_by_owner else _RECEIVED_SCRIPT
    return _claim(_SIGNATURE, _PUBLIC_KEY, script, _extra(anchors))


def second_level_input(*, offered: bool, anchors: bool) -> WeightUnits:
    """The input of our HTLC-timeout (`offered`) or HTLC-success transaction, both signatures."""
    if offered:
        return _claim(1, _SIGNATURE, _SIGNATURE, 1, _OFFERED_SCRIPT, _extra(anchors))
    return _claim(1, _SIGNATURE, _SIGNATURE, 1 + 32, _RECEIVED_SCRIPT, _extra(anchors))


def wallet_input() -> WeightUnits:
    """An input that spends a P2WPKH coin."""
    return _claim(_SIGNATURE, _PUBLIC_KEY)


def _extra(anchors: bool) -> int:
    return _ANCHORS_EXTRA if anchors else 0


def _claim(*witness_bytes: int) -> WeightUnits:
    return WeightUnits(INPUT + _COUNT + sum(witness_bytes))
