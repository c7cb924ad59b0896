"""Cases and dockets as the API shows them, with every secret blanked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contractcourt.case import ForceClose, FundingSpend
from contractcourt.codec import to_builtins
from contractcourt.contract import Contract
from contractcourt.policy import Policy
from contractcourt.units import BlockHeight
from storage.channels import ChannelRow
from storage.docket import DocketEntry
from storage.sweep_inputs import StoredSweep
from workers.gateway import waiting
from workers.gateway.responses import (
    ChannelSummary,
    CloseView,
    ContractView,
    DocketEntryView,
    ForceCloseView,
)

#: Fields of events that were secret once; whoever needs them has the docket itself.
_SECRET_FIELDS = frozenset({"preimage", "secret"})
_BLANK = "redacted"


def summary(row: ChannelRow) -> ChannelSummary:
    """A channel as a list shows it."""
    return ChannelSummary(
        channel_point=str(row.channel_point),
        node=row.node,
        capacity_sat=row.capacity_sat,
        state=row.state,
        close_kind=row.close_kind,
        closing_txid=None if row.closing_txid is None else str(row.closing_txid),
        closed_height=row.closed_height,
        fully_resolved_height=row.fully_resolved_height,
        created_at=row.created_at,
        applied_seq=row.applied_seq,
        last_seq=row.last_seq,
    )


def close(spend: FundingSpend | None) -> CloseView | None:
    """What spent the funding output, if anything did."""
    if spend is None:
        return None
    return CloseView(
        kind=spend.kind.value,
        txid=str(spend.txid),
        tx=str(spend.tx),
        height=spend.height,
        block_hash=str(spend.block_hash),
        commitment_number=spend.commitment_number,
    )


def force_close(decided: ForceClose | None) -> ForceCloseView | None:
    """Our decision to publish, if it was made."""
    if decided is None:
        return None
    return ForceCloseView(
        requested_at=decided.requested_at,
        requested_by=decided.requested_by,
        reason=decided.reason,
        commitment_number=decided.commitment_number,
        txid=str(decided.txid),
        outcome=None if decided.outcome is None else decided.outcome.value,
    )


def contract_view(
    contract: Contract, sweep: StoredSweep | None, policy: Policy, height: BlockHeight
) -> ContractView:
    """One contract, with what the sweeper makes of it at this height."""
    htlc, spend = contract.htlc, contract.spend
    return ContractView(
        outpoint=str(contract.outpoint),
        kind=contract.kind.value,
        value_sat=contract.value_sat,
        stage=contract.stage.value,
        confirmed_height=contract.confirmed_height,
        csv_delay=contract.csv_delay,
        payment_hash=None if htlc is None else str(htlc.payment_hash),
        cltv_expiry=None if htlc is None else htlc.cltv_expiry,
        spend_txid=None if spend is None else str(spend.txid),
        spend_height=None if spend is None else spend.height,
        ours=contract.ours,
        waits_for=waiting.words(contract, sweep, policy, height),
        deadline=None if sweep is None else sweep.wish.effect.deadline,
        feerate_per_kw=None if sweep is None else sweep.feerate_per_kw,
        sweep_state=None if sweep is None else sweep.state.value,
    )


def docket_entries(entries: Sequence[DocketEntry]) -> list[DocketEntryView]:
    """Entries with their events as plain JSON."""
    return [_entry(entry) for entry in entries]


def _entry(entry: DocketEntry) -> DocketEntryView:
    event = blanked(to_builtins(entry.event))
    return DocketEntryView(
        seq=entry.seq,
        type=event.pop("type"),
        source=entry.source,
        idempotency_key=entry.idempotency_key,
        created_at=entry.created_at,
        event=event,
    )


def blanked(value: Any) -> Any:
    """The same JSON with every secret replaced by a word."""
    if isinstance(value, dict):
        return {
            name: _BLANK if name in _SECRET_FIELDS else blanked(part)
            for name, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [blanked(part) for part in value]
    return value
