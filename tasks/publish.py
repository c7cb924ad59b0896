"""`contractcourt.publish`: what is published as it stands, at the fee both sides signed.

Our commitment, and without anchors our HTLC transactions. Sign, check, store, and only then send
(users_ask L20); what is open is sent again with every block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import structlog

from contractcourt.alarms import AlarmKind
from contractcourt.arbitrator.offer import on_offer
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3.commitment import funding_script_pubkey
from contractcourt.case import Case
from contractcourt.channel import Channel
from contractcourt.effects import PublishCommitment, PublishHtlcTransaction
from contractcourt.signing import SigningRequest, commitment_request, contract_input, sweep_request
from contractcourt.sweeping.drafts import rate
from contractcourt.units import Satoshi, WeightUnits
from storage import broadcasts, outbox, spends, sweep_progress, sweep_rounds
from storage.broadcasts import COMMITMENT, HTLC_TRANSACTION, Broadcast
from storage.database import Connection
from storage.outbox import OutboxRow
from storage.signed import Price, Signed, SpentInput
from storage.signed import store as store_signed
from tasks import wakeups
from tasks.app import app
from tasks.crash_points import CrashPoint, reach
from tasks.errands import one_by_one, take
from tasks.errors import RefusedByEngine
from tasks.resources import Resources, resources
from tasks.sending import send
from tasks.signer_client import SignerCallFailed
from tasks.signing import needs_no_signer, note_failure, sign

_log = structlog.get_logger()


@app.task(name="contractcourt.publish")
def publish_task(ids: list[int], idempotency_key: str) -> None:
    """Sign and publish what these outbox rows ask for."""
    with structlog.contextvars.bound_contextvars(wake=idempotency_key):
        publish(resources(), ids)


def publish(held: Resources, ids: Sequence[int]) -> None:
    """One row after another, each by its case as it is now."""
    taken = take(held, ids, "publish_commitment", "publish_htlc_transaction")
    one_by_one(held, taken, partial(_publish, held))


def _publish(held: Resources, row: OutboxRow, case: Case) -> None:
    reach(CrashPoint.PUBLISH_TAKEN)
    match row.effect:
        case PublishCommitment():
            _publish_commitment(held, row, case, row.effect)
        case PublishHtlcTransaction():
            _publish_htlc_transaction(held, row, case, row.effect)


def _publish_commitment(
    held: Resources, row: OutboxRow, case: Case, effect: PublishCommitment
) -> None:
    if case.closed or on_offer(case) != effect.commitment.txid:
        # Another commitment closed the channel after the decision, or a splice moved the funding,
        # or the peer showed that we lost data. The law asks anew when a reorg takes that back.
        held.db.run(lambda conn: _is_done(conn, row, case.channel))
        return
    channel = case.channel
    script = funding_script_pubkey(channel)
    request = commitment_request(channel, effect.commitment, script)
    stored = _sign_and_store(held, row, channel, request, COMMITMENT)
    if stored is not None:
        # The case that asks again waits for the answer again, though it is the same one.
        send(held, [replace(stored, last_outcome=None)])
        reach(CrashPoint.PUBLISH_SENT)
        if channel.anchors:
            _have_it_bumped(held, row.channel_id, channel.node)


def _have_it_bumped(held: Resources, channel_id: int, node: str) -> None:
    """Its child may follow now; a round that came before it left the anchor alone.

    Whether the anchor has a deadline is known to the rounds alone, so both are asked.
    """

    def ask(conn: Connection) -> None:
        sweep_progress.reconsider(conn, channel_id)
        for urgent in (True, False):
            sweep_rounds.ask(conn, [node], urgent=urgent, anew=False)

    held.db.run(ask)
    for urgent in (True, False):
        wakeups.sweep([node], urgent=urgent)


def _publish_htlc_transaction(
    held: Resources, row: OutboxRow, case: Case, effect: PublishHtlcTransaction
) -> None:
    """The peer's signature fixed all of it, the fee too (H2)."""
    channel = case.channel
    if held.db.run(lambda conn: _drop_if_needless(conn, row, case, effect.contract.outpoint)):
        return
    spent = contract_input(channel, effect.contract, effect.preimage)
    request = sweep_request(channel.node, effect.tx, [spent])
    stored = _sign_and_store(held, row, channel, request, HTLC_TRANSACTION)
    if stored is not None:
        send(held, [stored])


def _drop_if_needless(conn: Connection, row: OutboxRow, case: Case, outpoint: OutPoint) -> bool:
    """The output is spent, or a spend of it is out already, or a reorg took its commitment, and
    the law asks anew when that comes back: this row is done.
    """
    gone = all(contract.outpoint != outpoint for contract in case.contracts)
    spent = gone or spends.find_confirmed(conn, [outpoint])
    needless = bool(spent or broadcasts.spending(conn, [outpoint]))
    if needless:
        _is_done(conn, row, case.channel)
    return needless


def _is_done(conn: Connection, row: OutboxRow, channel: Channel) -> None:
    """Signed, or needed no more."""
    outbox.mark_sent(conn, row.id)
    needs_no_signer(conn, channel.node)


def _sign_and_store(
    held: Resources, row: OutboxRow, channel: Channel, request: SigningRequest, purpose: str
) -> Broadcast | None:
    """The signed transaction, stored with its outbox row done; None when it failed.

    A failure stays with the row, which is tried again: with growing pauses if it was refused, and
    every few seconds if the signer is away.
    """
    try:
        signed = sign(held, request)
    except (SignerCallFailed, RefusedByEngine) as error:
        _note_failure(held, row, channel, error)
        return None
    reach(CrashPoint.PUBLISH_SIGNED)
    price = _price(request, Transaction.parse(signed.tx))

    def store(conn: Connection) -> Broadcast:
        spent = SpentInput(request.inputs[0].outpoint, row.channel_id, price.fee_sat)
        stored = store_signed(
            conn, Signed(row.channel_id, purpose, signed.txid, signed.tx, [spent], price)
        )
        _is_done(conn, row, channel)
        reach(CrashPoint.PUBLISH_BEFORE_COMMIT)
        return stored

    stored = held.db.run(store)
    reach(CrashPoint.PUBLISH_STORED)
    return stored


def _price(request: SigningRequest, tx: Transaction) -> Price:
    value = sum(given.value_sat for given in request.inputs)
    fee = Satoshi(value - sum(output.value for output in tx.outputs))
    weight = WeightUnits(tx.weight())
    return Price(fee, weight, rate(fee, weight))


def _note_failure(held: Resources, row: OutboxRow, channel: Channel, error: Exception) -> None:
    _log.warning(
        "not signed",
        channel_point=str(channel.channel_point),
        node=channel.node,
        kind=row.kind,
        error=str(error),
    )
    kind = AlarmKind.NOT_SIGNED
    held.db.run(lambda conn: note_failure(conn, row, channel, error, kind, str(error)))
