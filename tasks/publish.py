"""Publishing: sign, check, store, and only then send (users_ask L20).

A refusal by the Bitcoin node is data on the attempt. What it says of our commitment goes to the
docket, because the law waits for it; what is open is sent again with every block.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from chain import consensus
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3.scripts import funding_script_pubkey
from contractcourt.case import Case
from contractcourt.channel import Channel
from contractcourt.effects import PublishCommitment
from contractcourt.events import PublishOutcome, TransactionPublished
from contractcourt.signing import SigningRequest, commitment_request
from contractcourt.units import HexBytes
from storage import alarms, broadcasts, cases, docket, outbox
from storage.broadcasts import Broadcast
from storage.database import Connection
from storage.outbox import OutboxRow
from tasks import wakeups
from tasks.app import app
from tasks.errors import RefusedByEngine
from tasks.resources import Resources, resources
from tasks.signer_client import SignerCallFailed, SignerUnavailable

_log = structlog.get_logger()


@app.task(name="contractcourt.publish")
def publish_task(ids: list[int], idempotency_key: str) -> None:
    """Sign and publish the commitments that these outbox rows ask for."""
    with structlog.contextvars.bound_contextvars(wake=idempotency_key):
        for row, case in take(resources(), ids, "publish_commitment"):
            if isinstance(row.effect, PublishCommitment):
                _publish_commitment(resources(), row, case, row.effect)


def take(held: Resources, ids: Sequence[int], kind: str) -> list[tuple[OutboxRow, Case]]:
    """Unsent rows of one kind, each with its channel's case as last committed.

    They are not held while carried out: carrying one out twice is harmless, and no transaction
    stays open while somebody else is asked.
    """

    def read(conn: Connection) -> list[tuple[OutboxRow, Case]]:
        found = []
        for row in outbox.take(conn, ids, [kind]):
            stored = cases.read(conn, row.channel_id)
            if stored is not None:
                found.append((row, stored.case))
        return found

    return held.db.run(read)


def _publish_commitment(
    held: Resources, row: OutboxRow, case: Case, effect: PublishCommitment
) -> None:
    channel = case.channel
    if channel.funding_outpoint != effect.funding_outpoint:
        # A splice moved the funding after the decision; this commitment can't confirm any more.
        held.db.run(lambda conn: outbox.mark_sent(conn, row.id))
        return
    script = funding_script_pubkey(channel.local.funding_pubkey, channel.remote.funding_pubkey)
    request = commitment_request(channel, effect.commitment, script)
    stored = sign_and_store(held, row, channel, request)
    if stored is not None:
        send(held, [stored])


def sign_and_store(
    held: Resources,
    row: OutboxRow,
    channel: Channel,
    request: SigningRequest,
    purpose: str | None = None,
) -> Broadcast | None:
    """The signed transaction, checked and stored with its outbox row done; None when it failed.

    A failure stays with the row, which is tried again with growing pauses.
    """
    try:
        signed = held.signer.sign(request)
        check_by_engine(request, signed.tx)
    except (SignerCallFailed, RefusedByEngine) as error:
        _note_failure(held, row, channel, error)
        return None
    tx = Transaction.parse(signed.tx)

    def store(conn: Connection) -> Broadcast:
        stored = broadcasts.insert(
            conn,
            row.channel_id,
            purpose=purpose or request.purpose.value,
            txid=signed.txid,
            raw_tx=signed.tx,
            inputs=[item.outpoint for item in tx.inputs],
        )
        outbox.mark_sent(conn, row.id)
        return stored

    return held.db.run(store)


def check_by_engine(request: SigningRequest, raw_tx: HexBytes) -> None:
    """Bitcoin Core's script engine on every input, where it is installed (P9)."""
    if not consensus.available():
        return
    spent = [(given.value_sat, given.script_pubkey) for given in request.inputs]
    reason = consensus.verify_transaction(raw_tx, spent)
    if reason is not None:
        raise RefusedByEngine(f"the script engine rejects the transaction: {reason}")


def _note_failure(held: Resources, row: OutboxRow, channel: Channel, error: Exception) -> None:
    _log.warning(
        "not signed",
        channel_point=str(channel.channel_point),
        node=channel.node,
        kind=row.kind,
        error=str(error),
    )

    def note(conn: Connection) -> None:
        outbox.mark_failed(conn, row.id, str(error))
        if not isinstance(error, SignerUnavailable):
            alarms.raise_alarm(conn, row.channel_id, "not_signed", str(error))

    held.db.run(note)


def send(held: Resources, open_ones: Sequence[Broadcast]) -> None:
    """Give stored transactions to the Bitcoin node, and keep what it says."""
    answers = held.chain.send_many([broadcast.raw_tx for broadcast in open_ones])

    def record(conn: Connection) -> list[int]:
        changed = []
        for broadcast, answer in zip(open_ones, answers, strict=True):
            broadcasts.record_attempt(conn, broadcast.id, answer.outcome, answer.reason)
            if _is_news(broadcast, answer.outcome):
                _tell_the_law(conn, broadcast, answer.outcome, answer.reason)
                changed.append(broadcast.channel_id)
            if answer.outcome is PublishOutcome.UNKNOWN:
                message = f"the Bitcoin node refuses {broadcast.txid}: {answer.reason}"
                alarms.raise_alarm(conn, broadcast.channel_id, "unknown_refusal", message)
        return changed

    changed = held.db.run(record)
    for broadcast, answer in zip(open_ones, answers, strict=True):
        _log_attempt(broadcast, answer.outcome, answer.reason)
    if changed:
        wakeups.wake(changed)


def _is_news(broadcast: Broadcast, outcome: PublishOutcome) -> bool:
    return broadcast.purpose == "commitment" and broadcast.last_outcome is not outcome


def _tell_the_law(
    conn: Connection, broadcast: Broadcast, outcome: PublishOutcome, reason: str
) -> None:
    docket.append(
        conn,
        broadcast.channel_id,
        TransactionPublished(broadcast.txid, outcome, reason),
        idempotency_key=f"published:{broadcast.txid}:{broadcast.attempts + 1}",
        source="court",
    )


def _log_attempt(broadcast: Broadcast, outcome: PublishOutcome, reason: str) -> None:
    accepted = outcome in (PublishOutcome.ACCEPTED, PublishOutcome.ALREADY_KNOWN)
    first = broadcast.last_outcome is not outcome
    # The same answer every block says nothing new (users_ask L5).
    (_log.info if first else _log.debug)(
        "published" if accepted else "publish refused",
        txid=str(broadcast.txid),
        purpose=broadcast.purpose,
        outcome=outcome.value,
        reason=reason,
    )
