"""What a case leaves outside itself: rows of other tables that must say, or carry on, the same.

The docket proves the case. Beside it stand its contracts and its close as rows, the watches through
which it hears of the chain, and what waits to be published; whatever of these is missing or says
something else, the audit names.
"""

from __future__ import annotations

from collections.abc import Iterator

from contractcourt.arbitrator.offer import on_offer
from contractcourt.arbitrator.overdue import overdue_since
from contractcourt.case import Case
from contractcourt.contract import Contract, ContractStage
from contractcourt.effects import PublishCommitment, PublishHtlcTransaction
from storage import blocks, broadcasts, contracts, outbox, sweep_inputs, watches
from storage.channels import ChannelRow
from storage.database import Connection
from storage.sweep_inputs import SweepState

#: The name of what is wrong, what is stored, what should be.
Trace = tuple[str, object, object]


def wrong_traces(conn: Connection, row: ChannelRow, case: Case) -> Iterator[Trace]:
    """Everything of this channel that does not fit its case."""
    if row.state != case.state:
        yield "channels.state", row.state, case.state.value
    yield from _close(row, case)
    yield from _contracts(conn, row.id, case)
    yield from _watches(conn, row.id, case)
    yield from _commitment(conn, row.id, case)
    yield from _sweeps(conn, row.id, case)


def overdue(conn: Connection, row: ChannelRow, case: Case) -> Trace | None:
    """Whether this case should be further by now (users_ask L1). Entries that wait come first."""
    tip = blocks.cursor(conn)
    if tip is None or row.applied_seq < row.last_seq:
        return None
    since = overdue_since(case, tip.height)
    return None if since is None else ("overdue", case.state.value, f"further since height {since}")


def _close(row: ChannelRow, case: Case) -> Iterator[Trace]:
    spend = case.funding_spend if case.closed else None
    stored = None if row.closing_txid is None else str(row.closing_txid)
    expected = None if spend is None else str(spend.txid)
    if stored != expected:
        yield "channel_resolutions", stored, expected


def _contracts(conn: Connection, channel_id: int, case: Case) -> Iterator[Trace]:
    stored = {
        str(c.outpoint): (c.kind, c.value_sat, c.stage, c.spend_txid, c.spend_height, c.ours)
        for c in contracts.list_for(conn, channel_id)
    }
    expected = {str(c.outpoint): _row_of(c) for c in case.contracts}
    for outpoint in sorted({*stored, *expected}):
        if stored.get(outpoint) != expected.get(outpoint):
            was, should = stored.get(outpoint), expected.get(outpoint)
            yield f"contracts {outpoint}", was and list(was), should and list(should)


def _row_of(contract: Contract) -> tuple[object, ...]:
    spend = contract.spend
    txid, height = (None, None) if spend is None else (spend.txid, spend.height)
    return contract.kind, contract.value_sat, contract.stage, txid, height, contract.ours


def _watches(conn: Connection, channel_id: int, case: Case) -> Iterator[Trace]:
    needed = {c.outpoint for c in case.contracts if c.stage is not ContractStage.RESOLVED}
    if not case.closed:
        needed.add(case.channel.funding_outpoint)
    found = {w.outpoint for w in watches.find(conn, sorted(needed)) if w.channel_id == channel_id}
    for outpoint in sorted(needed - found):
        yield f"watches {outpoint}", None, "a watch"


def _commitment(conn: Connection, channel_id: int, case: Case) -> Iterator[Trace]:
    wanted = on_offer(case)
    if wanted is None or case.funding_spend is not None:
        return
    waits = any(isinstance(o.effect, PublishCommitment) for o in outbox.unsent(conn, channel_id))
    if not waits and not broadcasts.known(conn, [wanted]):
        yield "broadcasts", None, f"our commitment {wanted}, or that it waits to be sent"


def _sweeps(conn: Connection, channel_id: int, case: Case) -> Iterator[Trace]:
    sweeping = {c.outpoint for c in case.contracts if c.stage is ContractStage.SWEEPING}
    waiting = outbox.unsent(conn, channel_id) if sweeping else ()
    if not sweeping or any(isinstance(o.effect, PublishHtlcTransaction) for o in waiting):
        return
    wishes = sweep_inputs.of_channel(conn, channel_id)
    traced = {wish.outpoint for wish in wishes if wish.state is not SweepState.DROPPED}
    for sent in broadcasts.for_channel(conn, channel_id):
        traced |= set(sent.inputs)
    for outpoint in sorted(sweeping - traced):
        yield f"sweep_inputs {outpoint}", None, "a sweep that is wanted or sent"
