"""lnd's state machine: six states, six triggers, one total function.

| state | trigger | next |
|---|---|---|
| DEFAULT | chain, no HTLC due | DEFAULT |
| DEFAULT | chain with an HTLC due, user | BROADCAST_COMMIT |
| BROADCAST_COMMIT | chain, user | stays until told the outcome of publishing (`offer`) |
| BROADCAST_COMMIT | accepted, double spend, fee too low | COMMITMENT_BROADCASTED |
| any of the three | local, remote close, breach | CONTRACT_CLOSED |
| any of the three | cooperative close | FULLY_RESOLVED |
| CONTRACT_CLOSED | any | WAITING_FULL_RESOLUTION, or FULLY_RESOLVED with nothing to resolve |
| WAITING_FULL_RESOLUTION | any, no contract left | FULLY_RESOLVED |
| FULLY_RESOLVED | any | FULLY_RESOLVED |

Only a reorg (`reopen`, `unresolve`) and what makes another commitment of ours the newest on the
funding (`follow_newest`) go back: lnd cannot.
"""

from __future__ import annotations

from enum import Enum
from typing import assert_never

import msgspec

from contractcourt.alarms import AlarmKind
from contractcourt.arbitrator import earlier, htlcs, offer, stakes, telling
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.case import COURT, ForceClose, State
from contractcourt.contract import ContractStage
from contractcourt.effects import (
    CloseKind,
    MarkChannelReopened,
    MarkFullyResolved,
    MarkUnresolved,
)
from contractcourt.events import ForceCloseRequested, PublishOutcome
from contractcourt.units import Txid

#: Outcomes after which our commitment, or another one, will confirm by itself.
_LET_GO = frozenset(
    {
        PublishOutcome.ACCEPTED,
        PublishOutcome.ALREADY_KNOWN,
        PublishOutcome.DOUBLE_SPEND,
        PublishOutcome.MISSING_INPUTS,
        PublishOutcome.FEE_TOO_LOW,
    }
)

#: Outcomes that repeating alone may never mend.
_ALARMS = {
    PublishOutcome.INVALID: AlarmKind.COMMITMENT_INVALID,
    PublishOutcome.POLICY: AlarmKind.COMMITMENT_POLICY,
    PublishOutcome.UNKNOWN: AlarmKind.COMMITMENT_UNKNOWN,
}


class Trigger(Enum):
    """What makes the machine step."""

    CHAIN = "chain"
    USER = "user"
    LOCAL_CLOSE = "local_close"
    REMOTE_CLOSE = "remote_close"
    COOPERATIVE_CLOSE = "cooperative_close"
    BREACH = "breach"


#: The trigger of each kind of close. Those without a better one resolve like a remote close.
TRIGGER_OF = {
    CloseKind.COOPERATIVE: Trigger.COOPERATIVE_CLOSE,
    CloseKind.LOCAL: Trigger.LOCAL_CLOSE,
    CloseKind.LOCAL_UNKNOWN: Trigger.LOCAL_CLOSE,
    CloseKind.REMOTE: Trigger.REMOTE_CLOSE,
    CloseKind.REMOTE_PENDING: Trigger.REMOTE_CLOSE,
    CloseKind.DATA_LOSS: Trigger.REMOTE_CLOSE,
    CloseKind.UNKNOWN_SPEND: Trigger.REMOTE_CLOSE,
    CloseKind.BREACH: Trigger.BREACH,
}


def run(hearing: Hearing, trigger: Trigger) -> None:
    """Step until a step ends in the state it began in."""
    while True:
        before = hearing.case.state
        _step(hearing, trigger)
        if hearing.case.state is before:
            return


def _step(hearing: Hearing, trigger: Trigger) -> None:
    match hearing.case.state:
        case State.DEFAULT:
            _in_default(hearing, trigger)
        case State.BROADCAST_COMMIT | State.COMMITMENT_BROADCASTED:
            _on_the_way(hearing, trigger)
        case State.CONTRACT_CLOSED:
            hearing.enter(
                State.WAITING_FULL_RESOLUTION if hearing.case.contracts else _resolve(hearing)
            )
        case State.WAITING_FULL_RESOLUTION:
            if all(c.stage is ContractStage.RESOLVED for c in hearing.case.contracts):
                hearing.enter(_resolve(hearing))
        case State.FULLY_RESOLVED:
            return
        case unreachable:
            assert_never(unreachable)


def _in_default(hearing: Hearing, trigger: Trigger) -> None:
    match trigger:
        case Trigger.CHAIN:
            if htlcs.some_action_due(hearing.case) and hearing.case.funding_spend is None:
                _decide_broadcast(hearing, requested_by=COURT, reason="an HTLC is due")
        case Trigger.USER:
            # The request itself is heard by `request`; a bare user trigger asks for nothing.
            return
        case _:
            _close(hearing, trigger)


def _on_the_way(hearing: Hearing, trigger: Trigger) -> None:
    if trigger not in (Trigger.CHAIN, Trigger.USER):
        _close(hearing, trigger)


def _close(hearing: Hearing, trigger: Trigger) -> None:
    if trigger is Trigger.COOPERATIVE_CLOSE:
        hearing.enter(_resolve(hearing))
        return
    hearing.enter(State.CONTRACT_CLOSED)


def _resolve(hearing: Hearing) -> State:
    case = hearing.case
    hearing.want(MarkFullyResolved(case.best_height))
    telling.breach_settled(hearing)
    hearing.notify("channel.fully_resolved", height=case.best_height)
    return State.FULLY_RESOLVED


def request(hearing: Hearing, asked: ForceCloseRequested) -> None:
    """The user's force close. Only the first changes anything (P3).

    It was answered, so it stands until it is decided: at once in DEFAULT with a commitment.
    """
    case = hearing.case
    if case.asked is not None or case.force_close is not None:
        return
    hearing.change(asked=asked)
    if case.state is State.DEFAULT:
        _decide_asked(hearing, asked)


def decide_what_was_asked(hearing: Hearing) -> None:
    """A force close that had nothing to publish, or met a close that a reorg took back since."""
    case = hearing.case
    if case.asked is None or case.state is not State.DEFAULT or case.funding_spend is not None:
        return
    if offer.to_publish(case) is not None:
        _decide_asked(hearing, case.asked)


def _decide_asked(hearing: Hearing, asked: ForceCloseRequested) -> None:
    _decide_broadcast(hearing, asked.requested_by, asked.reason, asked.requested_at)
    run(hearing, Trigger.USER)


def _decide_broadcast(
    hearing: Hearing,
    requested_by: str,
    reason: str,
    requested_at: str = "",
    sent: tuple[Txid, ...] = (),
) -> None:
    case = hearing.case
    commitment = offer.to_publish(case)
    if commitment is None:
        _alarm_nothing_to_publish(hearing)
        return
    if not offer.we_lost_data(case):  # The peer may hold an output that we don't know of (L14).
        htlcs.fail_dust_upstream(hearing)
    hearing.change(
        asked=None,
        force_close=ForceClose(
            requested_at=requested_at,
            requested_by=requested_by,
            reason=reason,
            commitment_number=commitment.number,
            txid=commitment.txid,
            sent=sent,
        ),
    )
    hearing.enter(State.BROADCAST_COMMIT)
    hearing.notify(
        "channel.closing",
        stage="requested",
        kind=CloseKind.LOCAL.value,
        txid=str(commitment.txid),
        requested_by=requested_by,
        reason=reason,
    )
    if offer.we_lost_data(case):
        hearing.alarm(
            AlarmKind.DATA_LOSS, "our state is stale: nothing is published, the peer must close"
        )


def _alarm_nothing_to_publish(hearing: Hearing) -> None:
    case = hearing.case
    if offer.goes_on_at(case) is None:
        hearing.alarm(
            AlarmKind.NO_LOCAL_COMMITMENT,
            "cannot force close: the node never told its newest commitment on "
            f"{case.channel.funding_outpoint}; send channel.updated",
        )


def follow_newest(hearing: Hearing) -> None:
    """What was decided is not the newest on the present funding: it can't confirm, or is revoked.

    A splice, or its reorg, moved the funding, or the node told a newer one. The decision stands,
    for the newest on the funding as it is now, once that is known.
    """
    case = hearing.case
    decided = case.force_close
    if decided is None or case.funding_spend is not None:
        return
    newest = offer.to_publish(case)
    if newest is None:
        _alarm_nothing_to_publish(hearing)
        return
    if newest.txid == decided.txid:
        return
    left, sent = stakes.decided_commitment(case), decided.sent
    if decided.outcome is not None and decided.txid not in sent:
        sent = (*sent, decided.txid)
    if left is not None:
        hearing.change(decided_before=earlier.kept(case, left, sent))
    _decide_broadcast(hearing, decided.requested_by, decided.reason, decided.requested_at, sent)


def hear_outcome(hearing: Hearing, outcome: PublishOutcome, reason: str) -> None:
    """What the node said of our commitment.

    A double spend is no error: some commitment won, and the case waits for whichever confirms.
    Any other refusal leaves the case in BROADCAST_COMMIT; the publisher tries again.
    """
    case = hearing.case
    if case.force_close is None or case.force_close.outcome is outcome:
        return
    hearing.change(force_close=msgspec.structs.replace(case.force_close, outcome=outcome))
    if case.state is State.BROADCAST_COMMIT and outcome in _LET_GO:
        hearing.enter(State.COMMITMENT_BROADCASTED)
    if outcome in _ALARMS:
        hearing.alarm(
            _ALARMS[outcome],
            f"the node refuses our commitment ({reason or outcome.value}); "
            "it is retried every block",
        )


def hear_of_earlier(hearing: Hearing, txid: Txid) -> None:
    """The Bitcoin node was given one that was decided before the present one."""
    case = hearing.case
    decided = case.force_close
    if decided is None or txid in decided.sent:
        return
    if any(commitment.txid == txid for commitment in case.decided_before):
        sent = (*decided.sent, txid)
        hearing.change(force_close=msgspec.structs.replace(decided, sent=sent))


def reopen(hearing: Hearing) -> None:
    """A reorg took the close back: return to where the case was before it."""
    case = hearing.case
    if case.closed:
        hearing.want(MarkChannelReopened())
    decided = case.force_close
    if decided is None:
        hearing.enter(State.DEFAULT)
    elif decided.outcome in _LET_GO:
        hearing.enter(State.COMMITMENT_BROADCASTED)
    else:
        hearing.enter(State.BROADCAST_COMMIT)


def unresolve_if_open(hearing: Hearing) -> None:
    """A contract of a resolved case is open again: a reorg, or a preimage that came late."""
    case = hearing.case
    done = all(c.stage is ContractStage.RESOLVED for c in case.contracts)
    if case.state is State.FULLY_RESOLVED and not done:
        hearing.want(MarkUnresolved())
        hearing.enter(State.WAITING_FULL_RESOLUTION)
