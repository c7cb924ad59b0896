"""Dead letters: webhooks that their endpoint kept refusing, kept until an operator replays them.

A replayed one goes back to the outbox under its old id, so that it keeps its webhook-id and is
ahead of every later letter of its channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from psycopg.rows import args_row

from contractcourt.alarms import AlarmKind
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.codec import MalformedRecord
from contractcourt.effects import OWED_UPSTREAM
from storage import alarms, letters
from storage.database import Connection

LIST = """
    SELECT d.id, d.endpoint, c.channel_point, d.effect, d.attempts, d.last_error, d.created_at,
           d.died_at, d.replayed_at
    FROM dead_letters AS d LEFT JOIN channels AS c ON c.id = d.channel_id
    WHERE d.id > %(after)s
      AND (%(endpoint)s::text IS NULL OR d.endpoint = %(endpoint)s)
      AND (%(with_replayed)s OR d.replayed_at IS NULL)
    ORDER BY d.id
    LIMIT %(limit)s
"""
REPLAY = """
    WITH again AS (
        UPDATE dead_letters SET replayed_at = clock_timestamp()
        WHERE id = %(id)s AND replayed_at IS NULL
        RETURNING id, channel_id, kind, endpoint, effect, created_at
    )
    INSERT INTO outbox (id, channel_id, kind, endpoint, effect, created_at, urgent)
    OVERRIDING SYSTEM VALUE
    SELECT *, effect::jsonb ->> 'event_type' = ANY(%(urgent)s) FROM again
    RETURNING channel_id
"""
#: Of those to the node: the operator's, of the same channel, raise no alarm.
MORE = """
    SELECT 1 FROM dead_letters
    WHERE channel_id = %(channel_id)s AND kind = 'notify_node' AND replayed_at IS NULL
    LIMIT 1
"""
COUNT_WAITING = """
    SELECT count(*)
    FROM (SELECT 1 FROM dead_letters WHERE replayed_at IS NULL LIMIT %(most)s) AS dead
"""
KNOWN = "SELECT 1 FROM dead_letters WHERE id = %(id)s"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One webhook that was given up. `replayed_at` is None while it waits for an operator."""

    id: int
    endpoint: str
    channel_point: OutPoint | None
    event_type: str
    attempts: int
    last_error: str
    created_at: datetime
    died_at: datetime
    replayed_at: datetime | None

    @property
    def message_id(self) -> str:
        """The webhook-id that its receiver knows, or will know, it by."""
        return letters.message_id(self.id, self.created_at)


class Replay(StrEnum):
    """What came of asking for one to be sent again."""

    REPLAYED = "replayed"
    #: Somebody asked before: it waits in the outbox, or was taken since.
    ALREADY_REPLAYED = "already_replayed"
    UNKNOWN = "unknown"


def list_letters(
    conn: Connection,
    *,
    endpoint: str | None = None,
    with_replayed: bool = False,
    after: int = 0,
    limit: int = 100,
) -> list[DeadLetter]:
    """Dead letters in the order they were written, those waiting for an operator only."""
    facts = {"endpoint": endpoint, "with_replayed": with_replayed, "after": after, "limit": limit}
    with conn.cursor(row_factory=args_row(_dead_letter)) as cursor:
        return cursor.execute(LIST, facts).fetchall()


def count_waiting(conn: Connection, most: int) -> int:
    """How many wait for an operator, counted no further than `most`."""
    return int(conn.execute(COUNT_WAITING, {"most": most}).fetchall()[0][0])


def replay(conn: Connection, letter_id: int) -> Replay:
    """Send it again, as if it were new. Asking twice sends it once.

    The alarm of its channel is over with its last dead letter.
    """
    again = conn.execute(REPLAY, {"id": letter_id, "urgent": list(OWED_UPSTREAM)}).fetchone()
    if again is not None:
        channel_id = again[0]
        if conn.execute(MORE, {"channel_id": channel_id}).fetchone() is None:
            alarms.clear_kind(conn, channel_id, AlarmKind.DEAD_LETTER)
        return Replay.REPLAYED
    known = conn.execute(KNOWN, {"id": letter_id}).fetchone() is not None
    return Replay.ALREADY_REPLAYED if known else Replay.UNKNOWN


def _dead_letter(
    letter_id: int,
    endpoint: str,
    channel_point: bytes | None,
    effect: str,
    attempts: int,
    last_error: str,
    created_at: datetime,
    died_at: datetime,
    replayed_at: datetime | None,
) -> DeadLetter:
    return DeadLetter(
        id=letter_id,
        endpoint=endpoint,
        channel_point=None if channel_point is None else OutPoint(channel_point),
        event_type=_event_type(effect),
        attempts=attempts,
        last_error=last_error,
        created_at=created_at,
        died_at=died_at,
        replayed_at=replayed_at,
    )


def _event_type(effect: str) -> str:
    try:
        return letters.read(effect).event_type
    except MalformedRecord:
        return "unknown to this version"
