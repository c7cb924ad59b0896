"""Where webhooks go: who sends to an endpoint now, and whether it is left alone for a while.

One worker at a time sends to an endpoint, so that a slow one costs at most one worker. One that
answers to none of several channels is left alone, for twice as long each time, and then asked with
a handful of letters: a dead endpoint costs little, however many letters wait for it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import args_row

from storage.database import Connection
from storage.pauses import growing

#: The endpoint of the operator; no node's name begins so.
OPERATOR = "@operator"
#: The longest an endpoint is left alone.
LONGEST_PAUSE_SECONDS = 600

CLAIM = """
    INSERT INTO webhook_endpoints AS e (name, claim, busy_until)
    VALUES (%(name)s, %(claim)s, clock_timestamp() + make_interval(secs => %(seconds)s))
    ON CONFLICT (name) DO UPDATE SET busy_until = EXCLUDED.busy_until, claim = EXCLUDED.claim
    WHERE (e.busy_until IS NULL OR e.busy_until < clock_timestamp() OR e.claim = EXCLUDED.claim)
      AND (e.open_until IS NULL OR e.open_until <= clock_timestamp())
    RETURNING e.failures
"""
RELEASE = """
    UPDATE webhook_endpoints SET busy_until = NULL
    WHERE name = %(name)s AND claim = %(claim)s
"""
NOTE_ANSWER = """
    UPDATE webhook_endpoints
    SET failures = 0, open_until = NULL, last_error = NULL, last_answer_at = clock_timestamp()
    WHERE name = %(name)s
"""
NOTE_SILENCE = f"""
    UPDATE webhook_endpoints
    SET failures = failures + 1, last_error = %(error)s,
        open_until = CASE WHEN %(leave_alone)s
            THEN clock_timestamp() + {growing("failures + 1")} END
    WHERE name = %(name)s
    RETURNING failures
"""
START_ANEW = """
    UPDATE webhook_endpoints SET failures = 0, open_until = NULL, last_error = NULL
    WHERE name = %(name)s
"""
#: All that letters may go to; few rows. The operator's first.
KNOWN = "SELECT '@operator' AS name UNION ALL SELECT name FROM nodes"
WAITING = f"""
    SELECT known.name
    FROM ({KNOWN}) AS known
    LEFT JOIN webhook_endpoints AS e ON e.name = known.name
    WHERE (e.open_until IS NULL OR e.open_until <= clock_timestamp())
      AND (e.busy_until IS NULL OR e.busy_until < clock_timestamp())
      AND EXISTS (
          SELECT 1 FROM outbox AS o
          WHERE o.endpoint = known.name AND o.sent_at IS NULL
            AND o.due_at <= statement_timestamp() - make_interval(secs => %(older_than_seconds)s))
    ORDER BY known.name
"""
LISTENING = "SELECT name FROM nodes WHERE name = ANY(%(names)s) AND webhook_url IS NOT NULL"
LIST = """
    SELECT name, failures, open_until, last_error, last_answer_at
    FROM webhook_endpoints ORDER BY name
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How it stands with one. `failures`: rounds in a row without an answer."""

    name: str
    failures: int
    open_until: datetime | None
    last_error: str | None
    last_answer_at: datetime | None


def listening(conn: Connection, names: Collection[str]) -> set[str]:
    """Those of these nodes that have an URL; nobody waits for the letters of the others."""
    return {row[0] for row in conn.execute(LISTENING, {"names": list(names)})}


def claim(conn: Connection, name: str, claim_id: UUID, seconds: float) -> int | None:
    """Be the only one who sends to it, for so long; None when it is busy or left alone.

    `claim_id` is made anew for each sender, and is the same when its commit is tried again.
    Answers the rounds in a row in which it did not answer.
    """
    facts = {"name": name, "claim": claim_id, "seconds": seconds}
    row = conn.execute(CLAIM, facts).fetchone()
    return None if row is None else int(row[0])


def release(conn: Connection, name: str, claim_id: UUID) -> None:
    """Whoever has letters for it may send them now. A claim that lapsed gives nothing back."""
    conn.execute(RELEASE, {"name": name, "claim": claim_id})


def note_answer(conn: Connection, name: str) -> None:
    """It answers, whatever it says."""
    conn.execute(NOTE_ANSWER, {"name": name})


def note_silence(conn: Connection, name: str, error: str, *, leave_alone: bool) -> int:
    """It does not answer, how often in a row.

    `leave_alone`: ask it nothing for 2 s, 4 s ... at most ten minutes.
    """
    facts = {
        "name": name,
        "error": error,
        "leave_alone": leave_alone,
        "longest": LONGEST_PAUSE_SECONDS,
    }
    row = conn.execute(NOTE_SILENCE, facts).fetchone()
    return 0 if row is None else int(row[0])


def start_anew(conn: Connection, name: str) -> None:
    """It is left alone no longer, whatever it did not answer."""
    conn.execute(START_ANEW, {"name": name})


def waiting(conn: Connection, older_than_seconds: float) -> list[str]:
    """Endpoints with letters due for so long, to which nobody sends."""
    facts = {"older_than_seconds": older_than_seconds}
    return [row[0] for row in conn.execute(WAITING, facts)]


def list_all(conn: Connection) -> list[Endpoint]:
    """Every endpoint that a letter ever went to, by name."""
    with conn.cursor(row_factory=args_row(Endpoint)) as cursor:
        return cursor.execute(LIST).fetchall()
