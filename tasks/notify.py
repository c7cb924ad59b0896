"""`contractcourt.notify`: webhooks to nodes and the operator, at least once, in order per channel.

A wake-up names an endpoint, whose claim makes this worker the only one that sends to it. Letters
of many channels go out side by side; of one channel never two at a time. What is not taken stays
in the outbox, where `reconcile` finds it when its time has come.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache, partial

import structlog

from contractcourt.alarms import AlarmKind
from storage import alarms, endpoints, letters, node_secrets, nodes, tallies
from storage.database import Connection
from storage.letters import IllegibleLetter, Letter
from tasks import wakeups
from tasks.app import app
from tasks.crash_points import CrashPoint, reach
from tasks.post import Address, Answer, Fate, Post
from tasks.resources import Resources, resources
from tasks.settings import Settings
from tasks.webhook_key import webhook_seal

_log = structlog.get_logger()

#: Letters on their way to one endpoint at the same time.
SIDE_BY_SIDE = 8
#: After so long a task hands on to the next one, so that other work gets its turn.
_ROUND_SECONDS = 10.0
#: Longer than any task lives: a claim of a worker that died lapses by itself.
_CLAIM_SECONDS = 10.0
_DROPPED_AT_ONCE = 1_000
#: Rounds without an answer, about a quarter of an hour, after which somebody should look.
_ALARMING_SILENCE = 10


@app.task(name="contractcourt.notify")
def notify_task(ids: list[int], idempotency_key: str, endpoints: list[str] | None = None) -> None:
    """Send what waits for the endpoints of these outbox rows, or for these endpoints."""
    with structlog.contextvars.bound_contextvars(wake=idempotency_key):
        held = resources()
        names = set(endpoints or ())
        if ids:
            names |= held.db.run(lambda conn: letters.endpoints_of(conn, ids))
        for name in sorted(names):
            deliver(held, name)


@cache
def _post(allow_private: bool) -> Post:
    return Post(allow_private=allow_private)


def deliver(held: Resources, name: str) -> None:
    """Send what may go to this endpoint now, unless somebody does or it is left alone."""
    seconds = held.settings.task_time_limit_seconds + _CLAIM_SECONDS
    claim_id = uuid.uuid4()
    failures = held.db.run(lambda conn: endpoints.claim(conn, name, claim_id, seconds))
    if failures is None:
        return
    try:
        is_there = _send_all(held, name, failures)
    finally:
        held.db.run(lambda conn: endpoints.release(conn, name, claim_id))
    # What came while we held it found it busy, and left it to us.
    if is_there and held.db.run(lambda conn: letters.take(conn, name, 1)):
        wakeups.deliver([name])


def _send_all(held: Resources, name: str, failures: int) -> bool:
    """Until nothing is due, or the time is up; False when it is to be left alone before."""
    address = held.db.run(lambda conn: _address(conn, held.settings, name))
    ends_at = time.monotonic() + _ROUND_SECONDS
    while time.monotonic() < ends_at:
        if address is None:
            if not _drop(held, name):
                return True
            continue
        found = held.db.run(partial(letters.take, endpoint=name, limit=SIDE_BY_SIDE))
        if not found:
            return True
        illegible = [letter for letter in found if isinstance(letter, IllegibleLetter)]
        if illegible:
            held.db.run(partial(_leave_to_another, name=name, illegible=illegible))
        due = [letter for letter in found if isinstance(letter, Letter)]
        if not due:
            continue
        reach(CrashPoint.NOTIFY_TAKEN)
        answered = list(zip(due, _send_each(held, due, address), strict=True))
        reach(CrashPoint.NOTIFY_SENT)
        before = failures
        failures = held.db.run(partial(_note, settings=held.settings, name=name, answered=answered))
        reach(CrashPoint.NOTIFY_STORED)
        if failures and _leave_alone(answered):
            return False
        if before and not failures:
            held.db.run(partial(_answers_again, name=name))
    return True


def _drop(held: Resources, name: str) -> int:
    """Letters that nobody listens for are done: taken, not sent, and stored so."""
    reach(CrashPoint.NOTIFY_TAKEN)
    reach(CrashPoint.NOTIFY_SENT)
    dropped = held.db.run(lambda conn: letters.drop(conn, name, _DROPPED_AT_ONCE))
    reach(CrashPoint.NOTIFY_STORED)
    return dropped


def _address(conn: Connection, settings: Settings, name: str) -> Address | None:
    """Where it is; None when nobody listens: a node without an URL reads the docket."""
    if name == endpoints.OPERATOR:
        url, secret = settings.operator_webhook_url, settings.operator_webhook_secret
        return None if url is None or secret is None else Address(name, url, (secret,))
    node = nodes.get_node(conn, name)
    if node is None or node.webhook_url is None:
        return None
    return Address(name, node.webhook_url, node_secrets.valid(conn, webhook_seal(settings), name))


def _send_each(held: Resources, due: Sequence[Letter], address: Address) -> list[Answer]:
    post = _post(held.settings.allow_private_webhooks)

    def send(letter: Letter) -> Answer:
        return post.send(letter, address, datetime.now(UTC))

    if len(due) == 1:
        return [send(due[0])]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        return list(threads.map(send, due))


def _note(
    conn: Connection, settings: Settings, name: str, answered: Sequence[tuple[Letter, Answer]]
) -> int:
    """Keep what became of each, in one transaction; rounds in a row without any answer."""
    letters.mark_taken(conn, [x.id for x, answer in answered if answer.fate is Fate.TAKEN])
    for fate in Fate:
        count = sum(answer.fate is fate for _, answer in answered)
        tallies.add(conn, "webhooks_sent", fate.value, count)
    for letter, answer in answered:
        if answer.fate is Fate.UNANSWERED:
            letters.mark_unanswered(conn, letter.id, answer.reason)
        elif answer.fate is Fate.REFUSED:
            _note_refusal(conn, settings, name, letter, answer.reason)
    failures = _note_endpoint(conn, name, answered)
    if failures < _ALARMING_SILENCE and name != endpoints.OPERATOR:
        for letter, answer in answered:
            _note_hanging(conn, name, letter, answer)
    return failures


def _note_endpoint(conn: Connection, name: str, answered: Sequence[tuple[Letter, Answer]]) -> int:
    """Rounds in a row without any answer."""
    if any(answer.fate is not Fate.UNANSWERED for _, answer in answered):
        endpoints.note_answer(conn, name)
        return 0
    silence, leave_alone = answered[-1][1].reason, _leave_alone(answered)
    failures = endpoints.note_silence(conn, name, silence, leave_alone=leave_alone)
    _log.warning("webhooks unanswered", endpoint=name, reason=silence, rounds=failures)
    if failures >= _ALARMING_SILENCE:
        words = f"no webhook reaches {name}: {silence}. All of them wait, none is lost"
        alarms.keep_raised(conn, None, AlarmKind.ENDPOINT_SILENT, words, node=_node(name))
    return failures


def _leave_alone(unanswered: Sequence[tuple[Letter, Answer]]) -> bool:
    """Over a few it may hang for their own sake, and answer to those of other channels.

    Then it has hung over each of them before. As many as are sent at once say that it is away.
    """
    is_new = any(letter.attempts == letter.refusals for letter, _ in unanswered)
    return len(unanswered) >= (2 if is_new else SIDE_BY_SIDE)


def _answers_again(conn: Connection, name: str) -> None:
    letters.hurry(conn, name)
    alarms.clear_kind(conn, None, AlarmKind.ENDPOINT_SILENT, node=_node(name))


def _leave_to_another(conn: Connection, name: str, illegible: Sequence[IllegibleLetter]) -> None:
    """A newer version sends them, if any; all of their channels waits behind them."""
    for letter in illegible:
        why = f"this version can't read it: {letter.why}"
        letters.mark_unanswered(conn, letter.id, why)
        if name != endpoints.OPERATOR:
            _note_unsent(conn, letter, f"letter {letter.id} to {name} is not sent: {why}")


def _note_hanging(conn: Connection, name: str, letter: Letter, answer: Answer) -> None:
    """The endpoint answers, and never to this one: all of its channel waits behind it."""
    if answer.fate is Fate.UNANSWERED:
        named = f"{letter.message_id} ({letter.event_type})"
        _note_unsent(conn, letter, f"{name} answers, but not to {named}: {answer.reason}")
    elif letter.attempts - letter.refusals >= _ALARMING_SILENCE:
        alarms.clear_kind(conn, letter.channel_id, AlarmKind.ENDPOINT_SILENT)


def _note_unsent(conn: Connection, letter: Letter | IllegibleLetter, why: str) -> None:
    """Alarm its channel, once it has been tried often enough."""
    if letter.attempts - letter.refusals + 1 >= _ALARMING_SILENCE:
        words = f"{why}. Later webhooks of this channel wait for it, none is lost"
        alarms.keep_raised(conn, letter.channel_id, AlarmKind.ENDPOINT_SILENT, words)


def _note_refusal(
    conn: Connection, settings: Settings, name: str, letter: Letter, reason: str
) -> None:
    died = letters.mark_refused(conn, letter.id, reason, settings.webhook_refusals)
    _log.warning(
        "webhook refused",
        endpoint=name,
        message_id=letter.message_id,
        type=letter.event_type,
        reason=reason,
        dead=died,
    )
    # An alarm about a letter to the operator would be another letter to the operator.
    if died and name != endpoints.OPERATOR:
        alarms.raise_alarm(
            conn,
            letter.channel_id,
            AlarmKind.DEAD_LETTER,
            f"{name} refused {letter.message_id} ({letter.event_type}) {settings.webhook_refusals} "
            f"times: {reason}. Later webhooks go on and name it as missing. Mend {name}, then: "
            f"contractcourt webhooks replay {letter.id}",
        )


def _node(name: str) -> str | None:
    return None if name == endpoints.OPERATOR else name
