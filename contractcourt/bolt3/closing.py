"""Cooperative closing transactions, legacy and simple (BOLT 2, BOLT 3 "Closing Transaction")."""

from __future__ import annotations

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.units import Script

LEGACY_SEQUENCE = 0xFFFFFFFF
SIMPLE_SEQUENCE = 0xFFFFFFFD
_MOST_OUTPUTS = 2


def build_closing(
    funding_outpoint: OutPoint,
    outputs: list[tuple[int, Script]],
    *,
    sequence: int = LEGACY_SEQUENCE,
    locktime: int = 0,
) -> Transaction:
    """The unsigned closing transaction that pays (satoshi, script) each; ordered by BIP 69.

    The caller has taken the fee off and dropped what is dust.
    """
    ordered = sorted((value, bytes(script)) for value, script in outputs)
    return Transaction(
        version=2,
        inputs=(TxIn(funding_outpoint, sequence=sequence),),
        outputs=tuple(TxOut(value, script) for value, script in ordered),
        locktime=locktime,
    )


def has_closing_shape(tx: Transaction) -> bool:
    """Whether a spend of a funding output looks like a cooperative close.

    One input with a final sequence, one or two outputs; the legacy form has no locktime.
    """
    if tx.version != 2 or len(tx.inputs) != 1 or not 1 <= len(tx.outputs) <= _MOST_OUTPUTS:
        return False
    sequence = tx.inputs[0].sequence
    return sequence == SIMPLE_SEQUENCE or (sequence == LEGACY_SEQUENCE and tx.locktime == 0)
