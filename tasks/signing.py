"""Signatures, and the script engine's word on them, before anything is stored or sent."""

from __future__ import annotations

from collections.abc import Sequence

from chain import consensus
from contractcourt.alarms import AlarmKind
from contractcourt.channel import Channel
from contractcourt.signing import SignedTransaction, SigningRequest
from contractcourt.units import HexBytes
from storage import alarms, outbox, tallies
from storage.database import Connection
from storage.outbox import OutboxRow
from tasks.errors import RefusedByEngine
from tasks.resources import Resources
from tasks.signer_client import (
    SignerCallFailed,
    SignerFailed,
    SignerNotReady,
    SignerUnavailable,
)

#: What an effect of the outbox asks of the signer.
_WAITS = {
    "publish_commitment": "our commitment",
    "publish_htlc_transaction": "an HTLC transaction",
    "ask_local_point": "our point",
}


def sign(held: Resources, request: SigningRequest) -> SignedTransaction:
    """The signed transaction, checked. What is refused is counted.

    Raises SignerCallFailed, or RefusedByEngine when Bitcoin Core's engine rejects it.
    """
    (answer,) = sign_many(held, [request])
    if isinstance(answer, SignedTransaction):
        return answer
    raise answer


def sign_many(
    held: Resources, requests: Sequence[SigningRequest]
) -> list[SignedTransaction | SignerCallFailed | RefusedByEngine]:
    """For each request its signed transaction, or what `sign` raises for it."""
    answers = [
        _checked(request, answer)
        for request, answer in zip(requests, held.signer.sign_many(requests), strict=True)
    ]
    refusals = sum(
        not isinstance(answer, SignedTransaction | SignerFailed | SignerUnavailable)
        for answer in answers
    )
    if refusals:
        held.db.run(lambda conn: tallies.add(conn, "signer_refusals", amount=refusals))
    return answers


def _checked(
    request: SigningRequest, answer: SignedTransaction | SignerCallFailed
) -> SignedTransaction | SignerCallFailed | RefusedByEngine:
    if not isinstance(answer, SignedTransaction):
        return answer
    try:
        _check_by_engine(request, answer.tx)
    except RefusedByEngine as refused:
        return refused
    return answer


def _check_by_engine(request: SigningRequest, raw_tx: HexBytes) -> None:
    """Bitcoin Core's script engine on every input, where it is installed (P9)."""
    if not consensus.available():
        return
    spent = [(given.value_sat, given.script_pubkey) for given in request.inputs]
    reason = consensus.verify_transaction(raw_tx, spent)
    if reason is not None:
        raise RefusedByEngine(f"the script engine rejects the transaction: {reason}")


def note_failure(
    conn: Connection,
    row: OutboxRow,
    channel: Channel,
    error: Exception,
    kind: AlarmKind,
    message: str,
) -> None:
    """An effect of the outbox waits for the signer, or was refused.

    `kind` and `message` are of a refusal; for a signer that is away its node has one alarm.
    """
    # Nobody tells when the signer can do it, and the row may have a deadline.
    if isinstance(error, SignerNotReady):
        outbox.mark_unanswered(conn, row.id, str(error))
    else:
        outbox.mark_refused(conn, row.id, str(error))
    if isinstance(error, SignerUnavailable):
        what = f"{_WAITS[row.kind]} of {channel.channel_point}, a channel of {channel.capacity_sat}"
        told = f"{what} sat, waits for the signer: {error}"
        alarms.keep_raised(conn, None, AlarmKind.SIGNER_AWAY, told, node=channel.node)
    else:
        needs_no_signer(conn, channel.node)
        alarms.raise_alarm(conn, row.channel_id, kind, message)


def needs_no_signer(conn: Connection, node: str) -> None:
    """It has answered the node, or is asked no more; whoever else waits for it says so again."""
    alarms.clear_kind(conn, None, AlarmKind.SIGNER_AWAY, node=node)
