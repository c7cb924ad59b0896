"""The law's verdicts on what stands on a docket, entry by entry; nothing is stored here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog
from celery.exceptions import SoftTimeLimitExceeded

from contractcourt.advance import Verdict, advance
from contractcourt.alarms import AlarmKind
from contractcourt.case import Case
from contractcourt.effects import RaiseAlarm
from contractcourt.errors import LawError
from storage.cases import StoredCase
from storage.docket import NumberedEvent
from tasks.carrying_out import Advanced
from tasks.errors import BrokenLaw

_log = structlog.get_logger()


def judge(
    stored: StoredCase, entries: Sequence[NumberedEvent], refusable: int | None
) -> tuple[StoredCase, Advanced]:
    """The case as these entries leave it, and the law's verdicts on the way there.

    Args:
        entries: what follows on the case's docket, without a gap.
        refusable: the entry that is still at the door, if any.

    Raises:
        LawError: the law refuses the entry numbered `refusable`; another one is noted as refused.
        BrokenLaw: the law fails on an entry, or one is missing.
    """
    advanced = Advanced(stored.channel_id, stored.case, applied_seq=stored.applied_seq)
    case, seq = stored.case, stored.applied_seq
    for entry in entries:
        if entry.seq != seq + 1:
            raise BrokenLaw(f"docket entry {seq + 1} of channel {stored.channel_id} is missing")
        verdict = _hear(case, entry, raises=entry.seq == refusable)
        advanced.verdicts.append(verdict)
        _log_step(case, verdict, entry)
        case, seq = verdict.case, entry.seq
    return replace(stored, case=case, applied_seq=seq), advanced


def _hear(case: Case, entry: NumberedEvent, *, raises: bool) -> Verdict:
    """The law's verdict. A refused event changes nothing and alarms; the docket keeps it.

    What the node says was checked at the door, so a refusal here means that two events met which
    the door could not see together.
    """
    try:
        return advance(case, entry.event)
    except LawError as refused:
        if raises:
            raise
        kind = type(entry.event).__name__
        return Verdict(
            case, (RaiseAlarm(AlarmKind.EVENT_REFUSED, f"{kind} {entry.seq}: {refused}"),)
        )
    except SoftTimeLimitExceeded:
        # The task's time is up, whatever the law was at.
        raise
    except Exception as error:
        raise BrokenLaw(
            f"docket entry {entry.seq} of {case.channel.channel_point}: {error!r}"
        ) from error


def _log_step(before: Case, verdict: Verdict, entry: NumberedEvent) -> None:
    after = verdict.case
    _log.info(
        "event applied",
        channel_point=str(after.channel.channel_point),
        node=after.channel.node,
        idempotency_key=entry.idempotency_key,
        seq=entry.seq,
        kind=type(entry.event).__name__,
        state=after.state.value,
        state_before=before.state.value,
        effects=len(verdict.effects),
    )
    for effect in verdict.effects:
        if isinstance(effect, RaiseAlarm):
            _log.warning(
                "alarm",
                channel_point=str(after.channel.channel_point),
                node=after.channel.node,
                alarm=effect.kind,
                message=effect.message,
            )
