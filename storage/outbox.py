"""The outbox: effects stored in the commit that wanted them, carried out after it.

A row is unsent until `mark_sent`; whoever carries it out holds it by `take` meanwhile. Effects
may be carried out twice and are harmless twice. Webhooks stand here too; `storage.letters` sends
those, in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from psycopg.rows import args_row

from contractcourt.codec import MalformedRecord, decode, encode
from contractcourt.effects import (
    AskLocalPoint,
    Effect,
    NotifyNode,
    PublishCommitment,
    PublishHtlcTransaction,
)
from storage.database import Connection
from storage.pauses import growing

#: The effects that go through here; the schema knows the same kinds.
OutboxEffect = PublishCommitment | PublishHtlcTransaction | NotifyNode | AskLocalPoint

#: The longest wait between two attempts at what was refused.
LONGEST_WAIT_SECONDS = 3600
#: And at what nobody could answer: who comes back may find transactions that have a deadline.
AWAY_SECONDS = 10

PUT = """
    INSERT INTO outbox (channel_id, kind, effect, urgent, endpoint, sent_at)
    SELECT given.channel_id, given.kind, given.effect, given.urgent,
           CASE WHEN given.kind = 'notify_node'
                THEN (SELECT node FROM channels WHERE id = given.channel_id) END,
           CASE WHEN %(done)s THEN clock_timestamp() END
    FROM unnest(
            %(channel_ids)s::bigint[], %(kinds)s::text[], %(effects)s::text[], %(urgent)s::bool[])
        WITH ORDINALITY AS given (channel_id, kind, effect, urgent, place)
    ORDER BY place
    RETURNING id
"""
_COLUMNS = "o.id, o.channel_id, o.kind, o.effect, o.attempts, o.created_at"
#: Said so that the index of what is unsent does not serve: a long transaction keeps all in it that
#: was sent since, and who knows the ids need not go through that (users_ask P1).
_STILL_UNSENT = "coalesce(o.sent_at, 'infinity') = 'infinity'"
TAKE = f"""
    SELECT {_COLUMNS} FROM outbox AS o
    WHERE o.id = ANY(%(ids)s) AND {_STILL_UNSENT} AND o.kind = ANY(%(kinds)s)
    ORDER BY o.id
    FOR UPDATE OF o SKIP LOCKED
"""
MARK_SENT = f"""
    UPDATE outbox AS o SET sent_at = clock_timestamp(), attempts = attempts + 1, last_error = NULL
    WHERE o.id = ANY(%(ids)s) AND {_STILL_UNSENT}
"""
MARK_FAILED = f"""
    UPDATE outbox AS o
    SET attempts = attempts + 1, last_error = %(error)s,
        due_at = clock_timestamp() + {growing("attempts")}
    WHERE o.id = %(id)s AND {_STILL_UNSENT}
"""
STALE = """
    SELECT o.id, o.kind FROM outbox AS o
    WHERE o.sent_at IS NULL AND o.endpoint IS NULL AND o.kind = ANY(%(kinds)s)
      AND o.due_at <= statement_timestamp() - make_interval(secs => %(older_than_seconds)s)
    ORDER BY o.due_at, o.id
    LIMIT %(limit)s
"""
UNSENT = """
    SELECT o.id, o.channel_id, o.kind, o.effect, o.attempts, o.created_at
    FROM outbox AS o
    WHERE o.channel_id = %(channel_id)s AND o.sent_at IS NULL AND o.kind <> 'notify_operator'
    ORDER BY o.id
"""
#: What `take` and `stale` are for: everything but letters.
ALL_KINDS = ("publish_commitment", "ask_local_point", "publish_htlc_transaction")


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One effect to carry out. `attempts` counts those that are over."""

    id: int
    channel_id: int
    kind: str
    effect: OutboxEffect
    attempts: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class IllegibleRow:
    """A row whose effect only another version can read, or that is damaged, and why."""

    id: int
    channel_id: int
    kind: str
    why: str


def put_many(
    conn: Connection, effects: Sequence[tuple[int, OutboxEffect]], *, done: bool = False
) -> list[int]:
    """Store effects in their order, in one statement; their ids in the same order.

    `done`: for the record, because nobody waits for them.
    """
    if not effects:
        return []
    facts = {
        "channel_ids": [channel_id for channel_id, _ in effects],
        "kinds": [kind_of(effect) for _, effect in effects],
        "effects": [encode(effect).decode() for _, effect in effects],
        "urgent": [isinstance(effect, NotifyNode) and effect.urgent for _, effect in effects],
        "done": done,
    }
    return sorted(row[0] for row in conn.execute(PUT, facts))


def take(
    conn: Connection, ids: Sequence[int], kinds: Sequence[str] = ALL_KINDS
) -> list[OutboxRow | IllegibleRow]:
    """Lock and read those of these rows that are unsent; held ones are left out."""
    facts = {"ids": list(ids), "kinds": list(kinds)}
    with conn.cursor(row_factory=args_row(_outbox_row)) as cursor:
        return cursor.execute(TAKE, facts).fetchall()


def mark_sent(conn: Connection, outbox_id: int) -> None:
    """It is carried out."""
    mark_sent_many(conn, [outbox_id])


def mark_sent_many(conn: Connection, ids: Sequence[int]) -> None:
    """`mark_sent` for many, in one statement."""
    conn.execute(MARK_SENT, {"ids": list(ids)})


def mark_refused(conn: Connection, outbox_id: int, error: str) -> None:
    """It is not wanted as it is: due again after 1 s, 2 s, 4 s ... at most an hour."""
    _mark_failed(conn, outbox_id, error, LONGEST_WAIT_SECONDS)


def mark_unanswered(conn: Connection, outbox_id: int, error: str) -> None:
    """Nobody could answer, which says nothing of the effect: due again in some seconds at most."""
    _mark_failed(conn, outbox_id, error, AWAY_SECONDS)


def _mark_failed(conn: Connection, outbox_id: int, error: str, longest: int) -> None:
    conn.execute(MARK_FAILED, {"id": outbox_id, "error": error, "longest": longest})


def stale(conn: Connection, older_than_seconds: float, limit: int) -> list[tuple[int, str]]:
    """(id, kind) of unsent rows that have been due for so long, the longest first. No letters, nor
    kinds that only a newer version carries out.
    """
    facts = {"older_than_seconds": older_than_seconds, "limit": limit, "kinds": list(ALL_KINDS)}
    return [(outbox_id, kind) for outbox_id, kind in conn.execute(STALE, facts)]


def unsent(conn: Connection, channel_id: int) -> list[OutboxRow]:
    """What the law wanted of one channel, waits and can be read, oldest first, without locking."""
    with conn.cursor(row_factory=args_row(_outbox_row)) as cursor:
        rows = cursor.execute(UNSENT, {"channel_id": channel_id}).fetchall()
    return [row for row in rows if isinstance(row, OutboxRow)]


def kind_of(effect: Effect) -> str:
    """The stable name of an effect's kind."""
    return str(effect.__struct_config__.tag)


def _outbox_row(
    outbox_id: int, channel_id: int, kind: str, effect: str, attempts: int, created_at: datetime
) -> OutboxRow | IllegibleRow:
    try:
        wanted = decode(effect, cast("type[Any]", OutboxEffect))
    except MalformedRecord as error:
        return IllegibleRow(outbox_id, channel_id, kind, str(error))
    return OutboxRow(
        id=outbox_id,
        channel_id=channel_id,
        kind=kind,
        effect=cast(OutboxEffect, wanted),
        attempts=attempts,
        created_at=created_at,
    )
