"""Letters: the webhooks among the outbox's rows, in order for each channel.

Of a channel only the oldest unsent letter can be taken. One that its endpoint keeps refusing
becomes a dead letter; those behind it go on, and each names what is missing before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import msgspec

from contractcourt.codec import MalformedRecord, decode
from contractcourt.effects import NotifyNode
from storage import alarms
from storage.alarms import Alarm
from storage.database import Connection
from storage.endpoints import LONGEST_PAUSE_SECONDS
from storage.outbox import LONGEST_WAIT_SECONDS
from storage.pauses import growing

#: Urgent letters of an endpoint that are looked at, however many wait behind one that hangs.
_URGENT_LOOKED_AT = 100
_COLUMNS = """
    o.id, o.channel_id, o.effect, o.attempts, o.refusals, o.created_at, d.ids, d.written
"""
_MISSING = """
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(id ORDER BY id), '{}') AS ids,
               coalesce(array_agg(created_at ORDER BY id), '{}') AS written
        FROM dead_letters
        WHERE channel_id = o.channel_id AND endpoint = o.endpoint
          AND id < o.id AND replayed_at IS NULL
    ) AS d
"""
TAKE_DUE = f"""
    SELECT {_COLUMNS}
    FROM outbox AS o
    {_MISSING}
    WHERE o.endpoint = %(endpoint)s AND o.sent_at IS NULL AND o.due_at <= statement_timestamp()
      AND NOT EXISTS (
          SELECT 1 FROM outbox AS older
          WHERE older.channel_id = o.channel_id AND older.kind = o.kind
            AND older.sent_at IS NULL AND older.id < o.id)
    ORDER BY o.due_at, o.id
    LIMIT %(limit)s
"""
#: Of channels with an urgent letter the oldest one, which may not be urgent itself.
TAKE_URGENT = f"""
    SELECT {_COLUMNS}
    FROM (
        SELECT DISTINCT channel_id FROM (
            SELECT channel_id FROM outbox
            WHERE endpoint = %(endpoint)s AND sent_at IS NULL AND urgent
            ORDER BY id LIMIT {_URGENT_LOOKED_AT}
        ) AS oldest
    ) AS pressed
    CROSS JOIN LATERAL (
        SELECT * FROM outbox
        WHERE channel_id = pressed.channel_id AND kind = 'notify_node' AND sent_at IS NULL
        ORDER BY id LIMIT 1
    ) AS o
    {_MISSING}
    WHERE o.due_at <= statement_timestamp()
    ORDER BY o.due_at, o.id
    LIMIT %(limit)s
"""
ENDPOINTS_OF = "SELECT DISTINCT endpoint FROM outbox WHERE id = ANY(%(ids)s) AND endpoint <> ''"
#: In order, and so many at a time that no statement takes long.
DROP_DUE = """
    UPDATE outbox SET sent_at = clock_timestamp()
    WHERE id IN (SELECT id FROM outbox
                 WHERE endpoint = %(endpoint)s AND sent_at IS NULL
                 ORDER BY due_at, id
                 LIMIT %(limit)s)
"""
MARK_TAKEN = """
    UPDATE outbox SET sent_at = clock_timestamp(), attempts = attempts + 1, last_error = NULL
    WHERE id = ANY(%(ids)s) AND sent_at IS NULL
"""
MARK_UNANSWERED = f"""
    UPDATE outbox
    SET attempts = attempts + 1, last_error = %(error)s,
        due_at = clock_timestamp() + {growing("attempts - refusals + 1")}
    WHERE id = %(id)s AND sent_at IS NULL
"""
HURRY = """
    UPDATE outbox SET due_at = clock_timestamp()
    WHERE endpoint = %(endpoint)s AND sent_at IS NULL AND refusals = 0
      AND due_at > statement_timestamp()
"""
MARK_REFUSED = f"""
    UPDATE outbox
    SET attempts = attempts + 1, refusals = refusals + 1, last_error = %(error)s,
        due_at = clock_timestamp() + {growing("refusals")}
    WHERE id = %(id)s AND sent_at IS NULL
    RETURNING refusals
"""
FORGIVE = """
    UPDATE outbox SET refusals = 0, due_at = clock_timestamp()
    WHERE endpoint = %(endpoint)s AND sent_at IS NULL AND attempts > 0
"""
BURY = """
    WITH given_up AS (
        DELETE FROM outbox WHERE id = %(id)s AND sent_at IS NULL
        RETURNING id, endpoint, channel_id, kind, effect, attempts, last_error, created_at
    )
    INSERT INTO dead_letters AS d
        (id, endpoint, channel_id, kind, effect, attempts, last_error, created_at)
    SELECT * FROM given_up
    ON CONFLICT (id) DO UPDATE
        SET attempts = d.attempts + EXCLUDED.attempts, last_error = EXCLUDED.last_error,
            died_at = clock_timestamp(), replayed_at = NULL
"""


class NotifyOperator(msgspec.Struct, frozen=True, tag="notify_operator"):
    """Tell the operator that an alarm was raised or is over. A trigger of `alarms` writes it."""

    alarm_id: int
    event_type: str


@dataclass(frozen=True, slots=True)
class Letter:
    """One webhook to send. `missing` names older ones of its channel that were given up."""

    id: int
    channel_id: int | None
    event_type: str
    data: dict[str, Any]
    attempts: int
    refusals: int
    created_at: datetime
    missing: tuple[str, ...]

    @property
    def message_id(self) -> str:
        """Its webhook-id."""
        return message_id(self.id, self.created_at)


@dataclass(frozen=True, slots=True)
class IllegibleLetter:
    """One that only another version can read, or that is damaged, and why."""

    id: int
    channel_id: int | None
    attempts: int
    refusals: int
    why: str


def message_id(letter_id: int, written_at: datetime) -> str:
    """The webhook-id of a letter: the same however often it is sent.

    Rows are numbered anew from where a restored backup stood, or the standby that took over: by its
    number alone a letter would be dropped as one that the receiver has taken.
    """
    return f"msg_{letter_id}_{round(written_at.timestamp() * 1_000_000)}"


def take(conn: Connection, endpoint: str, limit: int) -> list[Letter | IllegibleLetter]:
    """What may be sent to an endpoint now, at most one of each channel, the longest due first.

    Before all others come those that an urgent one waits for. Nothing is locked: whoever sends has
    claimed the endpoint.
    """
    facts = {"endpoint": endpoint, "limit": limit}
    rows = conn.execute(TAKE_URGENT, facts).fetchall()
    rows = rows or conn.execute(TAKE_DUE, facts).fetchall()
    effects = [_effect(row[2]) for row in rows]
    about = [effect.alarm_id for effect in effects if isinstance(effect, NotifyOperator)]
    raised = {alarm.id: alarm for alarm in alarms.find(conn, about)}
    return [_letter(row, effect, raised) for row, effect in zip(rows, effects, strict=True)]


def read(effect: str) -> NotifyNode | NotifyOperator:
    """A letter's effect as the outbox holds it."""
    union = cast("type[NotifyNode | NotifyOperator]", NotifyNode | NotifyOperator)
    return decode(effect, union)


def _effect(effect: str) -> NotifyNode | NotifyOperator | MalformedRecord:
    try:
        return read(effect)
    except MalformedRecord as error:
        return error


def _letter(
    row: tuple[Any, ...],
    effect: NotifyNode | NotifyOperator | MalformedRecord,
    raised: Mapping[int, Alarm],
) -> Letter | IllegibleLetter:
    letter_id, channel_id, _, attempts, refusals, created_at, missing, written = row
    if isinstance(effect, MalformedRecord):
        return IllegibleLetter(letter_id, channel_id, attempts, refusals, str(effect))
    return Letter(
        id=letter_id,
        channel_id=channel_id,
        event_type=effect.event_type,
        data=_data(effect, raised),
        attempts=attempts,
        refusals=refusals,
        created_at=created_at,
        missing=tuple(map(message_id, missing, written)),
    )


def _data(effect: NotifyNode | NotifyOperator, raised: Mapping[int, Alarm]) -> dict[str, Any]:
    if isinstance(effect, NotifyNode):
        return effect.data
    alarm = raised[effect.alarm_id]
    return {
        "alarm_id": alarm.id,
        "kind": alarm.kind,
        "message": alarm.message,
        "channel_point": None if alarm.channel_point is None else str(alarm.channel_point),
        "node": alarm.node,
        "raised_at": alarm.raised_at.isoformat(),
        "cleared_at": None if alarm.cleared_at is None else alarm.cleared_at.isoformat(),
    }


def endpoints_of(conn: Connection, ids: Sequence[int]) -> set[str]:
    """Whom these outbox rows go to."""
    return {row[0] for row in conn.execute(ENDPOINTS_OF, {"ids": list(ids)})}


def drop(conn: Connection, endpoint: str, limit: int) -> int:
    """Nobody listens there: its letters are done unsent. How many."""
    return conn.execute(DROP_DUE, {"endpoint": endpoint, "limit": limit}).rowcount


def mark_taken(conn: Connection, ids: Sequence[int]) -> None:
    """The endpoint took them."""
    conn.execute(MARK_TAKEN, {"ids": list(ids)})


def mark_unanswered(conn: Connection, letter_id: int, error: str) -> None:
    """The endpoint did not answer: due again after 2 s, 4 s ... at most ten minutes.

    It may hang over this very letter, and answer to those of other channels.
    """
    facts = {"id": letter_id, "error": error, "longest": LONGEST_PAUSE_SECONDS}
    conn.execute(MARK_UNANSWERED, facts)


def hurry(conn: Connection, endpoint: str) -> None:
    """It answers again: what it did not answer to is due at once."""
    conn.execute(HURRY, {"endpoint": endpoint})


def mark_refused(conn: Connection, letter_id: int, error: str, most_refusals: int) -> bool:
    """The endpoint does not want it: due again after 1 s, 2 s, 4 s ... at most an hour.

    True when that was the last time: it is a dead letter now.
    """
    facts = {"id": letter_id, "error": error, "longest": LONGEST_WAIT_SECONDS}
    row = conn.execute(MARK_REFUSED, facts).fetchone()
    if row is None or row[0] < most_refusals:
        return False
    conn.execute(BURY, {"id": letter_id})
    return True


def forgive(conn: Connection, endpoint: str) -> None:
    """What it refused, or did not answer to, is due at once, and was never refused."""
    conn.execute(FORGIVE, {"endpoint": endpoint})
