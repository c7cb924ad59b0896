"""The heart of the law: `advance(case, event) -> Verdict(case', effects)`.

Every state meets every event with a decision. What an event means is decided in `arbitrator/`;
here stands only who hears what, and what is looked at again after each event.
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from contractcourt.alarms import AlarmKind
from contractcourt.arbitrator import (
    closes,
    following,
    htlcs,
    machine,
    offer,
    replacements,
    risks,
    splices,
    updates,
    upstream,
)
from contractcourt.arbitrator.classification import is_replacement
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.bolt3.commitment import funding_script_pubkey
from contractcourt.case import Case, LocalPoint, RevokedState, State
from contractcourt.effects import Effect, WatchOutpoint
from contractcourt.errors import LawError
from contractcourt.events import (
    ChannelOpened,
    ChannelUpdated,
    Event,
    ForceCloseRequested,
    FundingReplaced,
    HeightReached,
    LocalPointLearned,
    PolicyChanged,
    PreimageLearned,
    RevokedStateRecalled,
    SpendConfirmed,
    SpendSeen,
    SpendUnconfirmed,
    SweepGivenUp,
    TransactionPublished,
)
from contractcourt.resolvers import anchor
from contractcourt.units import Script


class Verdict(msgspec.Struct, frozen=True):
    """What the law decided: the case as it is now, and what it wants done, in order."""

    case: Case
    effects: tuple[Effect, ...] = ()


def open_case(event: Event) -> Verdict:
    """The first verdict of a case. Raises LawError unless `event` is a `ChannelOpened`."""
    if not isinstance(event, ChannelOpened):
        raise LawError("a case begins with channel.opened")
    hearing = Hearing(Case(event.channel))
    channel = event.channel
    script = Script(b"")
    if channel.known_type:
        script = funding_script_pubkey(channel)
    else:
        hearing.alarm(
            AlarmKind.UNKNOWN_CHANNEL_TYPE,
            f"channel type {channel.channel_type} can only be watched: any spend will alarm",
        )
    hearing.want(WatchOutpoint(channel.funding_outpoint, script))
    return Verdict(hearing.case, tuple(hearing.effects))


def advance(case: Case, event: Event) -> Verdict:
    """Apply one event. Total over states and events.

    Raises a LawError, changing nothing, when the event's own content is wrong (a signature, a
    point, a secret, a number): such an event must be refused at the door and never stored.
    """
    hearing = Hearing(case)
    _hear(hearing, event)
    _look_again(hearing, case)
    risks.tell(hearing, case)
    return Verdict(hearing.case, tuple(hearing.effects))


def _hear(hearing: Hearing, event: Event) -> None:
    match event:
        case ChannelOpened():
            if event.channel != hearing.case.channel:
                raise LawError("this channel is already open with other facts")
        case ChannelUpdated():
            updates.hear_updates(hearing, event.updates)
            closes.reclassify(hearing)
            if event.forgets:
                updates.forget_settled(hearing)
            htlcs.set_alarm_clocks(hearing)
        case PreimageLearned():
            updates.hear_preimage(hearing, event)
            htlcs.set_alarm_clocks(hearing)
        case ForceCloseRequested():
            machine.request(hearing, event)
        case FundingReplaced():
            replacements.hear(hearing, event)
            if event.funding_pubkeys is not None:
                closes.reclassify(hearing)
            _accept_late_splice(hearing)
            _hear_what_waited(hearing)
        case SpendConfirmed():
            hearing.see_height(event.tip_height)
            _hear_spend(hearing, event)
            _hear_what_waited(hearing)
        case SpendUnconfirmed():
            hearing.see_height(event.tip_height)
            _hear_unspend(hearing, event)
        case SpendSeen():
            following.hear_seen(hearing, event)
        case SweepGivenUp():
            following.hear_given_up(hearing, event)
        case PolicyChanged():
            hearing.change(policy=event.policy)
            htlcs.set_alarm_clocks(hearing)
            following.renew(hearing)
        case HeightReached():
            hearing.see_height(event.height)
            _hear_what_waited(hearing)
        case TransactionPublished():
            decided = hearing.case.force_close
            if decided is not None and decided.txid == event.txid:
                machine.hear_outcome(hearing, event.outcome, event.reason)
            else:
                machine.hear_of_earlier(hearing, event.txid)
        case LocalPointLearned():
            _hear_local_point(hearing, event)
            closes.reclassify(hearing)
        case RevokedStateRecalled():
            hearing.change(recalled=RevokedState(event.number, event.htlcs))
        case unreachable:
            assert_never(unreachable)


def _hear_spend(hearing: Hearing, event: SpendConfirmed) -> None:
    case = hearing.case
    if event.outpoint == case.channel.funding_outpoint:
        if is_replacement(case, event.txid):
            splices.hear_splice(hearing, event)
        else:
            closes.hear_funding_spend(hearing, event)
    elif case.splice.find(event.outpoint) is not None:
        splices.hear_early_spend(hearing, event)
    else:
        following.hear_spend(hearing, event)


def _hear_what_waited(hearing: Hearing) -> None:
    """Spends that came before the node told enough, as if they came now."""
    splices.retire_what_led_here(hearing)
    splices.adopt_what_was_spent(hearing)
    while (spend := splices.take_ready(hearing)) is not None:
        _hear_spend(hearing, spend)


def _hear_unspend(hearing: Hearing, event: SpendUnconfirmed) -> None:
    splices.forget_waiting(hearing, event)
    if splices.hear_unsplice(hearing, event):
        return
    if event.outpoint == hearing.case.channel.funding_outpoint:
        closes.hear_funding_unspend(hearing, event)
    else:
        following.hear_unspend(hearing, event)


def _accept_late_splice(hearing: Hearing) -> None:
    """The splice confirmed before its webhook came: what looked like a close was none."""
    spend = hearing.case.funding_spend
    if spend is None or not is_replacement(hearing.case, spend.txid):
        return
    event = SpendConfirmed(
        outpoint=hearing.case.channel.funding_outpoint,
        txid=spend.txid,
        tx=spend.tx,
        height=spend.height,
        block_hash=spend.block_hash,
        tip_height=hearing.case.best_height,
    )
    splices.hear_splice(hearing, event)


def _hear_local_point(hearing: Hearing, event: LocalPointLearned) -> None:
    point = LocalPoint(event.number, event.per_commitment_point)
    known = hearing.case.local_points
    if all(other.number != point.number for other in known):
        hearing.change(local_points=(*known, point))


def _look_again(hearing: Hearing, before: Case) -> None:
    """After each event: is an HTLC due, is the close final, did a contract move on?"""
    splices.adopt_where_it_goes_on(hearing, before)
    if hearing.case.channel is not before.channel:
        htlcs.set_alarm_clocks(hearing)  # On the other funding we may hold other HTLCs.
    machine.follow_newest(hearing)
    offer.warn_of_nothing_to_spend(hearing, before)
    machine.decide_what_was_asked(hearing)
    machine.run(hearing, machine.Trigger.CHAIN)
    offer.publish(hearing, before)
    if hearing.case.state in (State.BROADCAST_COMMIT, State.COMMITMENT_BROADCASTED):
        anchor.bump(hearing)
    closes.close_when_buried(hearing)
    following.progress(hearing)
    machine.run(hearing, machine.Trigger.CHAIN)
    upstream.settle(hearing, before)
