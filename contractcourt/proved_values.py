"""How the signer knows what inputs are worth: the transactions that made them say so.

A signature covers the value of its own input alone (BIP 143), so somebody could have one
transaction signed in several requests, each with another lie about the other inputs, and put the
good signatures together. Hence every input but the last is proved: its txid is the hash of a
transaction that has this output. Of the last one the signature itself is the proof. Each of our
signatures covers all inputs and outputs (SIGHASH_ALL), so what has a good one for its last input
was judged with all values true. It has to be the same input in every request, or each would be the
one that need not be proved in its turn.
"""

from __future__ import annotations

from contractcourt.bitcoin.transaction import Transaction, TxOut, sha256d
from contractcourt.errors import MalformedTransaction
from contractcourt.signing import (
    RefusalReason,
    SigningInput,
    SigningRefused,
    SigningRequest,
    ValueUnproved,
)
from contractcourt.units import HexBytes, Txid


def check_values(request: SigningRequest) -> None:
    """Raise unless the request shows that its inputs are worth what it says.

    The commitment that a bump pays for made its anchor.

    Raises:
        SigningRefused: MALFORMED_REQUEST, WRONG_VALUE.
        ValueUnproved: of an input but the last.
    """
    made = dict(_named(raw) for raw in request.parents)
    if request.commitment is not None:
        made |= [_named(request.commitment.tx)]
    last = len(request.inputs) - 1
    for index, spent in enumerate(request.inputs):
        parent = made.get(spent.outpoint.txid)
        if parent is not None:
            _check_output(parent, spent)
        elif index != last:
            raise ValueUnproved(
                f"nothing shows that {spent.outpoint} is worth {spent.value_sat} sat"
            )


def needs_proof(request: SigningRequest) -> tuple[SigningInput, ...]:
    """The inputs whose transactions have to come with the request."""
    commitment = request.commitment
    told = None if commitment is None else commitment.txid
    return tuple(spent for spent in request.inputs[:-1] if spent.outpoint.txid != told)


def _named(raw: HexBytes) -> tuple[Txid, Transaction]:
    try:
        tx = Transaction.parse(raw)
    except MalformedTransaction as error:
        raise SigningRefused(RefusalReason.MALFORMED_REQUEST, f"a parent: {error}") from None
    if any(spent.witness for spent in tx.inputs):
        # Its bytes are hashed as they came.
        raise SigningRefused(RefusalReason.MALFORMED_REQUEST, "a parent comes without witness")
    return Txid(sha256d(raw)), tx


def _check_output(parent: Transaction, spent: SigningInput) -> None:
    vout = spent.outpoint.vout
    told = TxOut(spent.value_sat, bytes(spent.script_pubkey))
    if vout >= len(parent.outputs) or parent.outputs[vout] != told:
        raise SigningRefused(
            RefusalReason.WRONG_VALUE,
            f"{spent.outpoint} was not made with {spent.value_sat} sat for {spent.script_pubkey}",
        )
