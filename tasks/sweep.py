"""`contractcourt.sweep`: one contract's output to our node's script, at the present fee rate."""

from __future__ import annotations

import structlog

from contractcourt.case import Case
from contractcourt.contract import Contract, ContractKind
from contractcourt.effects import PublishHtlcTransaction, SweepOutput
from contractcourt.signing import claim_request
from contractcourt.sweep import NotWorthIt, build_sweep
from contractcourt.units import FeeratePerKw, HexBytes
from storage import alarms, broadcasts, outbox, spends
from storage.database import Connection
from storage.outbox import OutboxRow
from tasks.app import app
from tasks.publish import send, sign_and_store, take
from tasks.resources import Resources, resources

#: Nothing that has no deadline need hurry: about a day.
_TARGET_BLOCKS = 144

#: A broadcast of this purpose can't be rebuilt at another fee.
HTLC_TRANSACTION = "htlc_transaction"


@app.task(name="contractcourt.sweep")
def sweep_task(ids: list[int], idempotency_key: str) -> None:
    """Build, sign and publish the sweeps that these outbox rows ask for."""
    with structlog.contextvars.bound_contextvars(wake=idempotency_key):
        held = resources()
        for row, case in take(held, ids, "publish_htlc_transaction"):
            if isinstance(row.effect, PublishHtlcTransaction):
                _publish_as_it_is(held, row, case, row.effect)
        rows = take(held, ids, "sweep_output")
        if not rows:
            return
        feerate = present_feerate(held)
        for row, case in rows:
            if isinstance(row.effect, SweepOutput):
                _sweep(held, row, case, row.effect, feerate)


def present_feerate(held: Resources) -> FeeratePerKw:
    """The node's estimate, never below its mempool's floor; the floor when it has no estimate."""
    floor = held.chain.mempool_floor()
    estimate = held.chain.feerate(_TARGET_BLOCKS)
    return FeeratePerKw(max(floor, estimate or 0))


def _publish_as_it_is(
    held: Resources, row: OutboxRow, case: Case, effect: PublishHtlcTransaction
) -> None:
    """Our second-level transaction: the peer's signature fixed all of it, the fee too (H2)."""
    if held.db.run(lambda conn: _drop_if_needless(conn, row, effect.contract)):
        return
    request = claim_request(case.channel, effect.tx, effect.contract, effect.preimage)
    stored = sign_and_store(held, row, case.channel, request, purpose=HTLC_TRANSACTION)
    if stored is not None:
        send(held, [stored])


def _sweep(
    held: Resources, row: OutboxRow, case: Case, effect: SweepOutput, feerate: FeeratePerKw
) -> None:
    if held.db.run(lambda conn: _drop_if_needless(conn, row, effect.contract)):
        return
    built = build_sweep((effect.contract,), effect.sweep_script, feerate)
    if isinstance(built, NotWorthIt):
        kind = effect.contract.kind
        held.db.run(lambda conn: _give_up_for_now(conn, row, kind, built))
        return
    raw = HexBytes(built.tx.serialize())
    request = claim_request(
        case.channel, raw, effect.contract, effect.preimage, effect.per_commitment_secret
    )
    stored = sign_and_store(held, row, case.channel, request)
    if stored is not None:
        send(held, [stored])


def _drop_if_needless(conn: Connection, row: OutboxRow, contract: Contract) -> bool:
    """The output is spent, or a sweep of it is out already: this row is done."""
    spent = spends.find_confirmed(conn, [contract.outpoint])
    open_ones = broadcasts.for_channel(conn, row.channel_id)
    needless = bool(spent) or any(
        b.state == "open" and contract.outpoint in b.inputs for b in open_ones
    )
    if needless:
        outbox.mark_sent(conn, row.id)
    return needless


def _give_up_for_now(
    conn: Connection, row: OutboxRow, kind: ContractKind, verdict: NotWorthIt
) -> None:
    """Tried again as fees fall; an alarm, unless it is only an anchor."""
    message = (
        f"sweeping {verdict.value_sat} sat would cost {verdict.fee_sat} sat and leave dust; "
        "it is tried again as fees fall"
    )
    if kind is not ContractKind.ANCHOR:
        alarms.raise_alarm(conn, row.channel_id, "not_worth_sweeping", message)
    outbox.mark_failed(conn, row.id, message)
