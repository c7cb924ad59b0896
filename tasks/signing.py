"""A signature, and the script engine's word on it, before anything is stored or sent."""

from __future__ import annotations

from chain import consensus
from contractcourt.signing import SignedTransaction, SigningRequest
from contractcourt.units import HexBytes
from storage import tallies
from tasks.errors import RefusedByEngine
from tasks.resources import Resources
from tasks.signer_client import SignerCallFailed, SignerUnavailable


def sign(held: Resources, request: SigningRequest) -> SignedTransaction:
    """The signed transaction, checked. What is refused is counted.

    Raises SignerCallFailed, or RefusedByEngine when Bitcoin Core's engine rejects it.
    """
    try:
        signed = held.signer.sign(request)
        _check_by_engine(request, signed.tx)
    except SignerUnavailable:
        raise
    except (SignerCallFailed, RefusedByEngine):
        held.db.run(lambda conn: tallies.add(conn, "signer_refusals"))
        raise
    return signed


def _check_by_engine(request: SigningRequest, raw_tx: HexBytes) -> None:
    """Bitcoin Core's script engine on every input, where it is installed (P9)."""
    if not consensus.available():
        return
    spent = [(given.value_sat, given.script_pubkey) for given in request.inputs]
    reason = consensus.verify_transaction(raw_tx, spent)
    if reason is not None:
        raise RefusedByEngine(f"the script engine rejects the transaction: {reason}")
