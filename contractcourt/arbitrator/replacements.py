"""Splices and RBFs of the funding, as the node tells them (`bolt5_rules.md` S2, S4)."""

from __future__ import annotations

import msgspec

from contractcourt.arbitrator.hearing import Hearing
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.case import Case
from contractcourt.channel import FundingPubkeys
from contractcourt.effects import WatchOutpoint
from contractcourt.errors import CommitmentMismatch
from contractcourt.events import FundingReplaced
from contractcourt.fundings import Funding, Splice
from contractcourt.units import Script


def hear(hearing: Hearing, event: FundingReplaced) -> None:
    """The node names transactions that may replace the funding, and the new outpoint if known."""
    splice = hearing.case.splice
    named = set(event.funding_txid_candidates)
    if event.funding_outpoint is not None:
        named.add(event.funding_outpoint.txid)
    candidates = (
        *splice.funding_txid_candidates,
        *sorted(named - {*splice.funding_txid_candidates}),
    )
    if event.funding_outpoint is None:
        if not splice.told:
            capacity_sat = event.capacity_sat or splice.capacity_sat
            splice = msgspec.structs.replace(splice, capacity_sat=capacity_sat)
    elif _may_be_new(hearing.case, event.funding_outpoint):
        splice = _told(splice, event.funding_outpoint, event)
        hearing.want(WatchOutpoint(event.funding_outpoint, Script(b"")))
    elif event.funding_pubkeys is not None:
        _learn_pubkeys(hearing, event.funding_outpoint, event.funding_pubkeys)
    hearing.change(splice=msgspec.structs.replace(splice, funding_txid_candidates=candidates))


def _may_be_new(case: Case, outpoint: OutPoint) -> bool:
    """It neither funds the channel nor did so before."""
    return case.splice.find(outpoint) is not None or case.funding_at(outpoint) is None


def _told(splice: Splice, outpoint: OutPoint, event: FundingReplaced) -> Splice:
    """One new funding more, or the same with more known of it; the others stay possible."""
    untold = None if splice.told else splice.capacity_sat  # Else that is of the one told last.
    known = splice.find(outpoint) or Funding(outpoint, untold)
    new = msgspec.structs.replace(
        known,
        capacity_sat=event.capacity_sat or known.capacity_sat,
        funding_pubkeys=_pubkeys(known, event.funding_pubkeys),
    )
    return splice.telling(*splice.without(outpoint).told, new)


def _pubkeys(known: Funding, told: FundingPubkeys | None) -> FundingPubkeys | None:
    """Raises CommitmentMismatch for others than those that a commitment was checked with."""
    if told is None or told == known.funding_pubkeys:
        return known.funding_pubkeys
    ours = known.local_commitment
    if ours is not None and ours.spends == known.funding_outpoint:
        raise CommitmentMismatch(
            f"commitment {ours.number} on {known.funding_outpoint} is signed for other "
            "funding_pubkeys"
        )
    return told


def _learn_pubkeys(hearing: Hearing, outpoint: OutPoint, told: FundingPubkeys) -> None:
    """Of a funding whose splice was heard before its keys were told."""
    case = hearing.case
    known = case.funding_at(outpoint)
    if known is None:
        return
    changed = msgspec.structs.replace(known, funding_pubkeys=_pubkeys(known, told))
    if outpoint == case.channel.funding_outpoint:
        hearing.change(channel=case.channel_on(changed))
    else:
        hearing.change(retired_fundings=case.retired_with(changed))
