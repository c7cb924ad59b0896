"""Outputs of the peer's commitment that we can't read, since our data is lost (C6).

None of them can be claimed. But what the peer takes from one by a preimage shows it, and so an HTLC
that we offered can still be fulfilled upstream (R6, U1).
"""

from __future__ import annotations

from collections.abc import Iterator

from contractcourt.arbitrator import htlcs
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3.htlc_spends import HtlcSpend, read_htlc_spend
from contractcourt.case import Case
from contractcourt.effects import CloseKind, WatchOutpoint
from contractcourt.events import SpendConfirmed
from contractcourt.units import Script


def watch(hearing: Hearing) -> None:
    """Have the spends of all told, where one may be an HTLC that we offered."""
    if htlcs.valid_offered(hearing.case):
        for output in outputs(hearing.case):
            hearing.want(output)


def outputs(case: Case) -> Iterator[WatchOutpoint]:
    """Every output of such a close that is no contract."""
    spend = case.funding_spend
    if spend is None or spend.kind is not CloseKind.DATA_LOSS or not case.closed:
        return
    contracts = {contract.outpoint for contract in case.contracts}
    for index, output in enumerate(Transaction.parse(spend.tx).outputs):
        outpoint = OutPoint.of(spend.txid, index)
        if outpoint not in contracts:
            yield WatchOutpoint(outpoint, Script(output.script_pubkey), spend.height)


def read_spend(case: Case, event: SpendConfirmed) -> HtlcSpend | None:
    """How the peer took one of them, were it an HTLC that we offered; None for any other output."""
    if all(output.outpoint != event.outpoint for output in outputs(case)):
        return None
    witness = Transaction.parse(event.tx).witness_of(event.outpoint)
    return read_htlc_spend(witness, offered_by_owner=False)
