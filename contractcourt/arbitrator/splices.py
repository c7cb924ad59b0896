"""Splices and RBFs of the funding: the channel goes on (`bolt5_rules.md` section 7)."""

from __future__ import annotations

import msgspec

from contractcourt.alarms import AlarmKind
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.case import RetiredFunding, Splice
from contractcourt.effects import UnwatchOutpoint, WatchOutpoint
from contractcourt.events import FundingReplaced, SpendConfirmed, SpendUnconfirmed
from contractcourt.units import Satoshi, Script


def hear_replacement(hearing: Hearing, event: FundingReplaced) -> None:
    """The node names transactions that may replace the funding, and the new outpoint if known."""
    splice = hearing.case.splice
    named = set(event.funding_txid_candidates)
    if event.funding_outpoint is not None:
        named.add(event.funding_outpoint.txid)
    candidates = (
        *splice.funding_txid_candidates,
        *sorted(named - {*splice.funding_txid_candidates}),
    )
    outpoint = event.funding_outpoint or splice.funding_outpoint
    hearing.change(
        splice=msgspec.structs.replace(
            splice,
            funding_txid_candidates=candidates,
            funding_outpoint=outpoint,
            capacity_sat=event.capacity_sat or splice.capacity_sat,
        )
    )
    current = hearing.case.channel.funding_outpoint
    if event.funding_outpoint is not None and event.funding_outpoint != current:
        hearing.want(WatchOutpoint(event.funding_outpoint, Script(b"")))


def hear_splice(hearing: Hearing, event: SpendConfirmed) -> None:
    """A known candidate spent the funding output: move the channel to its new outpoint.

    The old funding is kept, since a reorg can revive it (S6).
    """
    case = hearing.case
    new = _new_outpoint(hearing, event)
    if new is None:
        hearing.alarm(
            AlarmKind.SPLICE_WITHOUT_OUTPOINT,
            f"splice {event.txid} confirmed but its funding outpoint is not known; "
            "send channel.funding_replaced with funding_outpoint",
        )
        return
    retired = RetiredFunding(
        case.channel.funding_outpoint, case.channel.capacity_sat, event.txid, case.local_commitment
    )
    capacity = Satoshi(Transaction.parse(event.tx).outputs[new.vout].value)
    channel = msgspec.structs.replace(case.channel, funding_outpoint=new, capacity_sat=capacity)
    hearing.change(
        channel=channel,
        retired_fundings=(*case.retired_fundings, retired),
        local_commitment=case.splice.local_commitment or case.local_commitment,
        splice=Splice(case.splice.funding_txid_candidates),
    )
    script = Script(Transaction.parse(event.tx).outputs[new.vout].script_pubkey)
    hearing.want(WatchOutpoint(new, script, event.height))
    hearing.notify("channel.funding_replaced", funding_outpoint=str(new), height=event.height)


def _new_outpoint(hearing: Hearing, event: SpendConfirmed) -> OutPoint | None:
    told = hearing.case.splice.funding_outpoint
    count = len(Transaction.parse(event.tx).outputs)
    if told is not None and told.txid == event.txid and told.vout < count:
        return told
    return None


def hear_unsplice(hearing: Hearing, event: SpendUnconfirmed) -> bool:
    """A reorg dropped a splice: the old funding is the channel's again. False if it was none."""
    case = hearing.case
    for position, retired in enumerate(case.retired_fundings):
        if (retired.funding_outpoint, retired.replaced_by) != (event.outpoint, event.txid):
            continue
        spliced = case.channel.funding_outpoint
        hearing.want(UnwatchOutpoint(spliced))
        hearing.change(
            channel=msgspec.structs.replace(
                case.channel,
                funding_outpoint=retired.funding_outpoint,
                capacity_sat=retired.capacity_sat,
            ),
            retired_fundings=case.retired_fundings[:position],
            local_commitment=retired.local_commitment,
            splice=Splice(
                case.splice.funding_txid_candidates,
                spliced,
                case.channel.capacity_sat,
                case.local_commitment,
            ),
        )
        return True
    return False
