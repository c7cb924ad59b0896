"""Cooperative closing transactions, legacy and simple (BOLT 2, BOLT 3 "Closing Transaction")."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.script import Op, is_standard_sweep
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.units import Script

_MOST_OUTPUTS = 2


class ClosingFormat(Enum):
    """How the two sides negotiated the close; the value is its input's nSequence."""

    #: closing_signed: no locktime; many rounds, one transaction.
    LEGACY = 0xFFFFFFFF
    #: closing_complete and closing_sig: the closer chose fee and locktime; many variants may be
    #: valid at once (rule M1).
    SIMPLE = 0xFFFFFFFD


def build_closing(
    funding_outpoint: OutPoint,
    outputs: Sequence[tuple[int, Script]],
    closing_format: ClosingFormat = ClosingFormat.LEGACY,
    locktime: int = 0,
) -> Transaction:
    """The unsigned closing transaction that pays (satoshi, script) each, in the order of B8.

    The caller has taken the fee off, the opener's (legacy) or the closer's (simple), and left out
    what is dust.

    Raises ValueError for a legacy close with a locktime.
    """
    if closing_format is ClosingFormat.LEGACY and locktime:
        raise ValueError("a legacy closing transaction has no locktime")
    return Transaction(
        version=2,
        inputs=(TxIn(funding_outpoint, sequence=closing_format.value),),
        outputs=tuple(TxOut(value, script) for value, script in sorted(outputs)),
        locktime=locktime,
    )


def closing_format(tx: Transaction) -> ClosingFormat | None:
    """Which form of cooperative close `tx` has, or None when it can be neither.

    Only the form: a splice may look the same, so ask for known splices first (rule C1).
    """
    if tx.version != 2 or len(tx.inputs) != 1 or not 1 <= len(tx.outputs) <= _MOST_OUTPUTS:
        return None
    found = next((f for f in ClosingFormat if f.value == tx.inputs[0].sequence), None)
    if found is ClosingFormat.LEGACY and tx.locktime:
        return None
    if not all(is_shutdown_script(output.script_pubkey) for output in tx.outputs):
        return None
    return found


def has_closing_shape(tx: Transaction) -> bool:
    """Whether a spend of a funding output looks like a cooperative close."""
    return closing_format(tx) is not None


def is_shutdown_script(script: bytes) -> bool:
    """Whether BOLT 2 lets a side close to `script`: the standard ones and OP_RETURN.

    The options `shutdown_anysegwit` and `simple_close` are taken as agreed.
    """
    if is_standard_sweep(script):
        return True
    if script[:1] == bytes([Op.RETURN]):
        return 8 <= len(script) <= 83
    any_segwit = 4 <= len(script) <= 42 and Op.ONE <= script[0] <= Op.SIXTEEN
    return any_segwit and script[1] == len(script) - 2
