"""The docket: everything that happened to each channel, in order.

A channel's entries are numbered from 1 without a gap, each carries its sender's idempotency key,
and each hash covers the one before (`docket_hashes`). An append locks the channel's `docket_heads`
row and nothing else: it never waits for a worker at the case.

Entries are kept by the month they came in (`docket_parts`). Appends and wake-ups see the recent
months, `docket`; whoever looks back sees the archive too, `docket_history`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from psycopg.rows import args_row

from contractcourt.alarms import AlarmKind
from contractcourt.codec import MalformedRecord, decode, decode_whole, encode
from contractcourt.events import Event
from storage.database import Connection
from storage.docket_hashes import chained_hash
from storage.errors import UnknownChannel, UnreadableRecord

Source = Literal["node", "chain", "court", "operator"]

#: In the order of the channels, so that two who lock the same never wait for each other. The newest
#: first (`cases.LOCK_CASES`).
LOCK_HEADS = """
    SELECT h.channel_id, h.last_seq, h.last_hash
    FROM unnest(%(channel_ids)s::bigint[]) AS asked (channel_id)
    CROSS JOIN LATERAL (
        SELECT channel_id, last_seq, last_hash FROM docket_heads
        WHERE channel_id = asked.channel_id
        ORDER BY last_seq DESC LIMIT 1
        FOR UPDATE
    ) AS h
"""
FIND_KEYS = """
    SELECT d.channel_id, d.idempotency_key, d.seq
    FROM unnest(%(channel_ids)s::bigint[], %(keys)s::text[]) AS given (channel_id, key)
    JOIN docket AS d ON d.channel_id = given.channel_id AND d.idempotency_key = given.key
"""
#: Its trigger moves the heads and fills `unapplied`.
INSERT_ENTRIES = """
    INSERT INTO docket (channel_id, seq, idempotency_key, source, kind, payload, hash)
    SELECT * FROM unnest(%(channel_ids)s::bigint[], %(seqs)s::bigint[], %(keys)s::text[],
                         %(sources)s::text[], %(kinds)s::text[], %(payloads)s::text[],
                         %(hashes)s::bytea[])
"""
_ENTRY_COLUMNS = "d.channel_id, d.seq, d.payload, d.idempotency_key, d.source, d.created_at"
PENDING = f"""
    SELECT {_ENTRY_COLUMNS}
    FROM unnest(%(channel_ids)s::bigint[], %(applied_seqs)s::bigint[])
        AS held (channel_id, applied_seq)
    CROSS JOIN LATERAL (
        SELECT * FROM docket
        WHERE docket.channel_id = held.channel_id AND docket.seq > held.applied_seq
        ORDER BY docket.seq
        LIMIT %(limit)s
    ) AS d
    ORDER BY d.channel_id, d.seq
"""
#: By the heads, which name the last entry: none of those that were applied before is met again.
AHEAD = """
    SELECT h.channel_id
    FROM unnest(%(channel_ids)s::bigint[], %(applied_seqs)s::bigint[])
        AS held (channel_id, applied_seq)
    CROSS JOIN LATERAL (
        SELECT channel_id FROM docket_heads
        WHERE channel_id = held.channel_id AND last_seq > held.applied_seq
        OFFSET 0
    ) AS h
    ORDER BY h.channel_id
"""
ENTRIES = f"""
    SELECT {_ENTRY_COLUMNS}
    FROM docket_history AS d
    WHERE d.channel_id = %(channel_id)s AND d.seq > %(after)s
    ORDER BY d.seq
    LIMIT %(limit)s
"""
LATEST = f"""
    SELECT {_ENTRY_COLUMNS}
    FROM docket_history AS d
    WHERE d.channel_id = %(channel_id)s AND (%(before)s::bigint IS NULL OR d.seq < %(before)s)
    ORDER BY d.seq DESC
    LIMIT %(limit)s
"""
#: Read as it lies, for its indexes lead through every row that was ever taken off while a long
#: transaction keeps the dead ones (users_ask P1). Those that are set aside come last: however many
#: they are, and however long they wait, the others have their turn.
UNAPPLIED_CHANNELS = """
    WITH waiting AS MATERIALIZED (
        SELECT channel_id, created_at FROM unapplied
    ), set_aside AS MATERIALIZED (
        SELECT channel_id FROM alarms
        WHERE kind = %(law_broken)s AND channel_id IS NOT NULL AND cleared_at IS NULL
    )
    SELECT channel_id
    FROM waiting
    GROUP BY channel_id
    HAVING min(created_at) <= clock_timestamp() - make_interval(secs => %(older_than_seconds)s)
        -- Of before the clock was set back.
        OR max(created_at) > clock_timestamp()
    ORDER BY channel_id IN (SELECT channel_id FROM set_aside), min(created_at), channel_id
    LIMIT %(limit)s
"""
BACKLOG = """
    SELECT count(*),
           coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8
    FROM unapplied
"""


@dataclass(frozen=True, slots=True)
class NewEntry:
    """Something that happened to a channel and is not on its docket yet."""

    channel_id: int
    event: Event
    idempotency_key: str
    source: Source


@dataclass(frozen=True, slots=True)
class Appended:
    """Where an entry stands. A duplicate stands where its key was first seen."""

    seq: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """What is to be applied of an entry."""

    seq: int
    event: Event
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class DocketEntry(NumberedEvent):
    """One entry of a docket."""

    channel_id: int
    source: Source
    created_at: datetime


def append(
    conn: Connection, channel_id: int, event: Event, *, idempotency_key: str, source: Source
) -> Appended:
    """Put one event on a channel's docket. See `append_many`."""
    return append_many(conn, [NewEntry(channel_id, event, idempotency_key, source)])[0]


def append_many(conn: Connection, entries: Sequence[NewEntry]) -> list[Appended]:
    """Put events on dockets, in the order given; the answers are in the same order.

    Three statements, however many entries. A key that a channel has seen before changes nothing
    and answers the first one's number.

    Raises:
        UnknownChannel: one of the channels was never registered; nothing was written.
    """
    if not entries:
        return []
    heads = _lock_heads(conn, {entry.channel_id for entry in entries})
    known = _known_keys(conn, entries)
    answers: list[Appended] = []
    rows: list[tuple[int, int, str, str, str, str, bytes]] = []
    for entry in entries:
        name = (entry.channel_id, entry.idempotency_key)
        if name in known:
            answers.append(Appended(known[name], duplicate=True))
            continue
        last_seq, last_hash = heads[entry.channel_id]
        seq, payload = last_seq + 1, encode(entry.event).decode()
        entry_hash = chained_hash(last_hash, seq, entry.idempotency_key, entry.source, payload)
        heads[entry.channel_id] = (seq, entry_hash)
        known[name] = seq
        kind = str(entry.event.__struct_config__.tag)
        rows.append((entry.channel_id, seq, name[1], entry.source, kind, payload, entry_hash))
        answers.append(Appended(seq, duplicate=False))
    if rows:
        columns = ("channel_ids", "seqs", "keys", "sources", "kinds", "payloads", "hashes")
        values = [list(column) for column in zip(*rows, strict=True)]
        conn.execute(INSERT_ENTRIES, dict(zip(columns, values, strict=True)))
    return answers


def pending(conn: Connection, applied_seqs: Mapping[int, int], limit: int) -> list[DocketEntry]:
    """What these channels' cases have not applied, by channel and in order.

    Args:
        applied_seqs: by channel, what its case has applied. Lock the cases before asking.
        limit: of entries for each channel.
    """
    facts = {
        "channel_ids": list(applied_seqs),
        "applied_seqs": list(applied_seqs.values()),
        "limit": limit,
    }
    with conn.cursor(row_factory=args_row(_whole_entry)) as cursor:
        return cursor.execute(PENDING, facts).fetchall()


def ahead(conn: Connection, applied_seqs: Mapping[int, int]) -> list[int]:
    """Those of these channels whose docket goes on after what was applied, without locking."""
    facts = {"channel_ids": list(applied_seqs), "applied_seqs": list(applied_seqs.values())}
    return [row[0] for row in conn.execute(AHEAD, facts)]


def entries(
    conn: Connection, channel_id: int, *, after: int = 0, limit: int = 1000
) -> list[DocketEntry]:
    """A channel's entries with a number above `after`, in order, at most `limit`."""
    facts = {"channel_id": channel_id, "after": after, "limit": limit}
    with conn.cursor(row_factory=args_row(_docket_entry)) as cursor:
        return cursor.execute(ENTRIES, facts).fetchall()


def latest(
    conn: Connection, channel_id: int, *, before: int | None = None, limit: int = 50
) -> list[DocketEntry]:
    """A channel's last entries, those with a number below `before`, the newest first."""
    facts = {"channel_id": channel_id, "before": before, "limit": limit}
    with conn.cursor(row_factory=args_row(_docket_entry)) as cursor:
        return cursor.execute(LATEST, facts).fetchall()


def unapplied_channels(conn: Connection, older_than_seconds: float, limit: int) -> list[int]:
    """Channels whose oldest unapplied entry has waited so long, the longest waiting first.

    After all others those on which the law broke: only another version gets on with them.
    """
    facts = {
        "older_than_seconds": older_than_seconds,
        "limit": limit,
        "law_broken": AlarmKind.LAW_BROKEN,
    }
    return [row[0] for row in conn.execute(UNAPPLIED_CHANNELS, facts)]


def backlog(conn: Connection) -> tuple[int, float]:
    """How many entries are unapplied, and the age of the oldest in seconds."""
    count, age = conn.execute(BACKLOG).fetchall()[0]
    return int(count), float(age)


def _lock_heads(conn: Connection, channel_ids: Iterable[int]) -> dict[int, tuple[int, bytes]]:
    wanted = sorted(channel_ids)
    rows = conn.execute(LOCK_HEADS, {"channel_ids": wanted})
    heads = {channel_id: (last_seq, last_hash) for channel_id, last_seq, last_hash in rows}
    if len(heads) < len(wanted):
        missing = next(channel_id for channel_id in wanted if channel_id not in heads)
        raise UnknownChannel(f"no channel {missing} is registered")
    return heads


def _known_keys(conn: Connection, new: Sequence[NewEntry]) -> dict[tuple[int, str], int]:
    """Read under the heads' locks: whoever appended before has committed."""
    facts = {
        "channel_ids": [entry.channel_id for entry in new],
        "keys": [entry.idempotency_key for entry in new],
    }
    return {(channel_id, key): seq for channel_id, key, seq in conn.execute(FIND_KEYS, facts)}


def _docket_entry(
    channel_id: int, seq: int, payload: str, idempotency_key: str, source: str, created_at: datetime
) -> DocketEntry:
    return _entry(decode, channel_id, seq, payload, idempotency_key, source, created_at)


def _whole_entry(
    channel_id: int, seq: int, payload: str, idempotency_key: str, source: str, created_at: datetime
) -> DocketEntry:
    """For who applies it: it is applied once, so nothing of it may be passed over."""
    return _entry(decode_whole, channel_id, seq, payload, idempotency_key, source, created_at)


def _entry(
    read: Callable[[str, type[Any]], Any],
    channel_id: int,
    seq: int,
    payload: str,
    idempotency_key: str,
    source: str,
    created_at: datetime,
) -> DocketEntry:
    try:
        event = read(payload, cast("type[Any]", Event))
    except MalformedRecord as error:
        raise UnreadableRecord(f"docket entry {seq} of channel {channel_id}: {error}") from error
    return DocketEntry(
        channel_id=channel_id,
        seq=seq,
        event=cast(Event, event),
        idempotency_key=idempotency_key,
        source=cast(Source, source),
        created_at=created_at,
    )
