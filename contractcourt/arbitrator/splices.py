"""Splices and RBFs of the funding, as the chain shows them (`bolt5_rules.md` section 7)."""

from __future__ import annotations

from contractcourt.alarms import AlarmKind
from contractcourt.arbitrator import closes, htlcs, offer
from contractcourt.arbitrator.classification import is_replacement
from contractcourt.arbitrator.depth import depth_of, final_height
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3.commitment import funding_script_pubkey
from contractcourt.case import Case
from contractcourt.effects import UnwatchOutpoint, WatchOutpoint
from contractcourt.events import SpendConfirmed, SpendUnconfirmed
from contractcourt.fundings import Funding
from contractcourt.units import Blocks, Satoshi, Script

#: Until then what leads to a new funding that was spent may be looked for, or be told.
_PATIENCE = Blocks(3)
_A_DAY = Blocks(144)


def hear_splice(hearing: Hearing, event: SpendConfirmed) -> None:
    """A known candidate spent the funding output: move the channel to its new outpoint.

    The old funding is kept, since a reorg can revive it (S6). A close that it was spent by before
    went with that reorg, or was none.
    """
    if hearing.case.funding_spend is not None:
        closes.take_back(hearing)
    case = hearing.case
    told = _new_funding(case, event)
    if told is None:
        _let_wait(hearing, event)
        hearing.alarm(
            AlarmKind.SPLICE_WITHOUT_OUTPOINT,
            f"splice {event.txid} confirmed but its funding outpoint is not known; "
            "send channel.funding_replaced with funding_outpoint",
        )
        return
    retired = case.funding.retired(case.channel.capacity_sat, event.txid)
    new = told.funding_outpoint
    output = Transaction.parse(event.tx).outputs[new.vout]
    channel = case.channel.funded_by(new, Satoshi(output.value), told.funding_pubkeys)
    if channel.known_type and output.script_pubkey != funding_script_pubkey(channel):
        hearing.alarm(
            AlarmKind.SPLICE_WITH_OTHER_KEYS,
            f"the funding output {new} of splice {event.txid} does not pay the funding_pubkeys "
            "that are known; send channel.funding_replaced with those of this splice",
        )
    hearing.change(
        channel=channel,
        retired_fundings=(*case.retired_fundings, retired),
        local_commitment=told.local_commitment or case.local_commitment,
        splice=case.splice.without(new),
    )
    hearing.want(WatchOutpoint(new, Script(output.script_pubkey), event.height))
    hearing.notify("channel.funding_replaced", funding_outpoint=str(new), height=event.height)


def _new_funding(case: Case, event: SpendConfirmed) -> Funding | None:
    """Which output of this splice is the new funding, as the node told it last."""
    count = len(Transaction.parse(event.tx).outputs)
    found = (new for new in reversed(case.splice.told) if new.funding_outpoint.txid == event.txid)
    return next((new for new in found if new.funding_outpoint.vout < count), None)


def hear_early_spend(hearing: Hearing, event: SpendConfirmed) -> None:
    """A new funding was spent, and nothing was heard yet of the splice that makes it one (L22)."""
    _let_wait(hearing, event)
    if _is_mined(hearing.case, event.outpoint):
        return  # It is gone back to at once.
    hearing.wake_at(final_height(event.tip_height, _PATIENCE), "a new funding was spent")
    if is_replacement(hearing.case, event.txid):
        return  # By the next splice in a row.
    hearing.alarm(
        AlarmKind.UNKNOWN_SPEND,
        f"transaction {event.txid} spent {event.outpoint}, which the node told as a new funding, "
        "but no splice to it was heard; it is judged when that is known, "
        f"or in {_PATIENCE} blocks",
    )


def adopt_what_was_spent(hearing: Hearing) -> None:
    """Where no splice leads to a new funding that was spent, it replaced the old one by fee.

    The old one was never mined then. Nor was the present one, if it was gone to from one that is.
    """
    case = hearing.case
    if case.funding_spend is not None:
        return
    for spend in case.waiting_spends:
        new = case.splice.find(spend.outpoint)
        waited = depth_of(spend.tip_height, case.best_height) >= _PATIENCE
        if new is not None and (waited or _is_mined(case, spend.outpoint)):
            outputs = Transaction.parse(spend.tx).outputs
            at_least = Satoshi(sum(output.value for output in outputs))
            _adopt(hearing, new, new.capacity_sat or at_least)
            return


def _is_mined(case: Case, funding_outpoint: OutPoint) -> bool:
    """The splice that makes this funding was heard."""
    return any(old.replaced_by == funding_outpoint.txid for old in case.retired_fundings)


def adopt_where_it_goes_on(hearing: Hearing, before: Case) -> None:
    """Ours is to be published, and the node tells its commitments on a new funding alone: go there.

    With a block that comes after: until a splice is locked each state is told for the old funding
    and for the new one, in whichever order. To what was tried before and was not there, in a day.
    """
    case = hearing.case
    new = offer.goes_on_at(case) if case.funding_spend is None else None
    if new is None or new.capacity_sat is None:
        return
    if not (case.asked or case.force_close or htlcs.some_action_due(case)):
        return
    blocks = _A_DAY if new.local_commitment in case.decided_before else 1
    if case.best_height // blocks > before.best_height // blocks:
        _adopt(hearing, new, new.capacity_sat)
    else:
        at = (case.best_height // blocks + 1) * blocks
        hearing.wake_at(at, "our newest commitment is on a new funding")


def _adopt(hearing: Hearing, new: Funding, capacity_sat: Satoshi) -> None:
    """The old funding stays known like a new one: it may be mined instead, or spent by a splice."""
    case = hearing.case
    # A reorg of its splice may have ended the watch that came with the word of it.
    hearing.want(WatchOutpoint(new.funding_outpoint, Script(b"")))
    others = case.splice.without(new.funding_outpoint).told
    hearing.change(
        channel=case.channel.funded_by(new.funding_outpoint, capacity_sat, new.funding_pubkeys),
        local_commitment=new.local_commitment or case.local_commitment,
        splice=case.splice.telling(case.funding, *others),
    )


def retire_what_led_here(hearing: Hearing) -> None:
    """Splices to a funding that was gone to before they were mined: what they spend is old now."""
    for spend in hearing.case.waiting_spends:
        case = hearing.case
        old = case.splice.find(spend.outpoint)
        if old is None or old.capacity_sat is None or not _leads_here(case, spend):
            continue
        retired = case.retired_fundings
        txids = [one.funding_outpoint.txid for one in retired]
        # Before what its splice led to, in the order in which they follow each other.
        at = txids.index(spend.txid) if spend.txid in txids else len(retired)
        new = old.retired(old.capacity_sat, spend.txid)
        hearing.change(
            retired_fundings=(*retired[:at], new, *retired[at:]),
            splice=case.splice.without(old.funding_outpoint),
            waiting_spends=tuple(s for s in case.waiting_spends if s != spend),
        )
        retire_what_led_here(hearing)
        return


def _leads_here(case: Case, spend: SpendConfirmed) -> bool:
    """It made the present funding, or one that the present one replaced."""
    known = (case.funding, *(retired.funding for retired in case.retired_fundings))
    return any(spend.txid == one.funding_outpoint.txid for one in known)


def _let_wait(hearing: Hearing, event: SpendConfirmed) -> None:
    others = tuple(s for s in hearing.case.waiting_spends if s.outpoint != event.outpoint)
    hearing.change(waiting_spends=(*others, event))


def forget_waiting(hearing: Hearing, event: SpendUnconfirmed) -> None:
    """A reorg took a spend back that had not been taken in."""
    gone = (event.outpoint, event.txid, event.block_hash)
    waiting = hearing.case.waiting_spends
    kept = tuple(s for s in waiting if (s.outpoint, s.txid, s.block_hash) != gone)
    if kept != waiting:
        hearing.change(waiting_spends=kept)


def take_ready(hearing: Hearing) -> SpendConfirmed | None:
    """A spend of the funding that waited and can be taken in now. It waits no longer."""
    case = hearing.case
    for spend in case.waiting_spends:
        if spend.outpoint != case.channel.funding_outpoint:
            continue
        if is_replacement(case, spend.txid) and _new_funding(case, spend) is None:
            continue
        hearing.change(waiting_spends=tuple(s for s in case.waiting_spends if s != spend))
        return spend
    return None


def hear_unsplice(hearing: Hearing, event: SpendUnconfirmed) -> bool:
    """A reorg dropped a splice: the old funding is the channel's again. False if it was none.

    What stood on it went with it, in whatever order the spends of one block are taken back.
    """
    for position, retired in enumerate(hearing.case.retired_fundings):
        if (retired.funding_outpoint, retired.replaced_by) == (event.outpoint, event.txid):
            if hearing.case.funding_spend is not None:
                closes.take_back(hearing)
            _return_to(hearing, position)
            return True
    return False


def _return_to(hearing: Hearing, position: int) -> None:
    """Undo every splice since this old funding; what was told of their fundings stays known."""
    case = hearing.case
    revived, *later = case.retired_fundings[position:]
    undone = (*(other.funding for other in later), case.funding)
    for new in undone:
        hearing.want(UnwatchOutpoint(new.funding_outpoint))
    hearing.change(
        channel=case.channel_on(revived.funding),
        retired_fundings=case.retired_fundings[:position],
        local_commitment=revived.local_commitment,
        splice=case.splice.telling(*case.splice.told, *undone),
    )
