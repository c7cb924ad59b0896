"""Bitcoin Core's script engine, where py-bitcoinkernel is installed (promise P9).

Its authors call it experimental, so it is a net and never the only check: without it the court
runs on, and the Bitcoin node judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec


@cache
def available() -> bool:
    """Whether the engine is installed here."""
    return find_spec("pbk") is not None


def load() -> None:
    """Read the engine in now, if it is installed; else the first check waits for that, 0.15 s."""
    if available():
        import_module("pbk")


def verify_transaction(raw_tx: bytes, spent: Sequence[tuple[int, bytes]]) -> str | None:
    """Why the engine rejects the transaction; None when every input's script passes.

    Args:
        raw_tx: the whole transaction with its witnesses.
        spent: value in satoshi and scriptPubKey of every spent output, in input order.
    """
    import pbk
    from pbk.script import PrecomputedTransactionData

    try:
        tx = pbk.Transaction(bytes(raw_tx))
    except RuntimeError:
        return "the transaction can't be decoded"
    if len(tx.inputs) != len(spent):
        return f"{len(tx.inputs)} inputs, but {len(spent)} spent outputs were given"
    scripts = [pbk.ScriptPubkey(bytes(script)) for _, script in spent]
    outputs = [
        pbk.TransactionOutput(script, value)
        for script, (value, _) in zip(scripts, spent, strict=True)
    ]
    precomputed = PrecomputedTransactionData(tx, outputs)
    for index, (value, _) in enumerate(spent):
        if not scripts[index].verify(
            value, tx, precomputed, index, pbk.ScriptVerificationFlags.ALL
        ):
            return f"the script of input {index} fails"
    return None
