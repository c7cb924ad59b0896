"""The channels, their present state, and the resolutions that every closed one must have.

`state` is written by `storage.cases` alone, from the case itself; the marks here write the facts of
a close. The schema demands at commit that the two agree, in whatever order they were written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import args_row

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.case import State
from contractcourt.channel import Channel
from contractcourt.codec import encode
from contractcourt.effects import MarkChannelClosed
from contractcourt.units import BlockHeight, Satoshi, Txid
from storage.database import Connection
from storage.errors import UnknownNode

INSERT_CHANNELS = """
    WITH channel AS (
        INSERT INTO channels (channel_point, node, capacity_sat, channel_type)
        SELECT * FROM unnest(%(channel_points)s::bytea[], %(nodes)s::text[],
                             %(capacities)s::bigint[], %(channel_types)s::text[])
        ON CONFLICT (channel_point) DO NOTHING
        RETURNING id, channel_point
    ), head AS (
        INSERT INTO docket_heads (channel_id) SELECT id FROM channel
    )
    SELECT id, channel_point FROM channel
"""
SELECT_CHANNELS = """
    SELECT c.id, c.channel_point, c.node, c.capacity_sat, c.state, r.close_kind, r.closing_txid,
           r.closed_height, r.fully_resolved_height, c.created_at,
           coalesce(k.applied_seq, 0), h.last_seq
    FROM channels AS c
    JOIN docket_heads AS h ON h.channel_id = c.id
    LEFT JOIN cases AS k ON k.channel_id = c.id
    LEFT JOIN channel_resolutions AS r ON r.channel_id = c.id
"""
FIND_CHANNEL = f"{SELECT_CHANNELS} WHERE c.channel_point = %(channel_point)s"
FIND_CHANNELS = f"{SELECT_CHANNELS} WHERE c.id = ANY(%(ids)s) ORDER BY c.id"
LIST_CHANNELS = f"""{SELECT_CHANNELS}
    WHERE c.id > %(after)s
      AND (%(state)s::text IS NULL OR c.state = %(state)s)
      AND (%(node)s::text IS NULL OR c.node = %(node)s)
    ORDER BY c.id
    LIMIT %(limit)s
"""
NODE_OF = "SELECT node FROM channels WHERE channel_point = %(channel_point)s"

INSERT_RESOLUTIONS = """
    INSERT INTO channel_resolutions (channel_id, close_kind, closing_txid, closed_height,
                                     resolutions)
    SELECT * FROM unnest(%(channel_ids)s::bigint[], %(kinds)s::text[], %(txids)s::bytea[],
                         %(heights)s::integer[], %(resolutions)s::text[]::jsonb[])
    ON CONFLICT (channel_id) DO UPDATE SET
        close_kind = EXCLUDED.close_kind, closing_txid = EXCLUDED.closing_txid,
        closed_height = EXCLUDED.closed_height, resolutions = EXCLUDED.resolutions,
        created_at = EXCLUDED.created_at
"""
DELETE_RESOLUTIONS = "DELETE FROM channel_resolutions WHERE channel_id = %(channel_id)s"
SET_RESOLVED_HEIGHT = """
    UPDATE channel_resolutions AS r SET fully_resolved_height = given.height
    FROM unnest(%(channel_ids)s::bigint[], %(heights)s::integer[]) AS given (channel_id, height)
    WHERE r.channel_id = given.channel_id
"""
CLEAR_RESOLVED_HEIGHT = """
    UPDATE channel_resolutions SET fully_resolved_height = NULL WHERE channel_id = %(channel_id)s
"""


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """One channel as the tables show it. `applied_seq` lags `last_seq` by what is unapplied.

    `state` is a `State` and `close_kind` a `CloseKind`, or one that only a newer version knows.
    """

    id: int
    channel_point: OutPoint
    node: str
    capacity_sat: Satoshi
    state: str
    close_kind: str | None
    closing_txid: Txid | None
    closed_height: BlockHeight | None
    fully_resolved_height: BlockHeight | None
    created_at: datetime
    applied_seq: int
    last_seq: int


def register(conn: Connection, channel: Channel) -> int | None:
    """Make room for a channel and its docket; its id, or None if its point is known already.

    Raises:
        UnknownNode: the channel's node is not registered. The transaction is lost.
    """
    return register_many(conn, [channel]).get(channel.channel_point)


def register_many(conn: Connection, channels: Sequence[Channel]) -> dict[OutPoint, int]:
    """`register` for many, in one statement: the ids of those that were not known yet."""
    facts = {
        "channel_points": [channel.channel_point for channel in channels],
        "nodes": [channel.node for channel in channels],
        "capacities": [channel.capacity_sat for channel in channels],
        "channel_types": [channel.channel_type for channel in channels],
    }
    try:
        rows = conn.execute(INSERT_CHANNELS, facts).fetchall()
    except psycopg.errors.ForeignKeyViolation as error:
        names = ", ".join(sorted({channel.node for channel in channels}))
        raise UnknownNode(f"not all of these nodes are registered: {names}") from error
    return {OutPoint(channel_point): int(channel_id) for channel_id, channel_point in rows}


def find(conn: Connection, channel_point: OutPoint) -> ChannelRow | None:
    """The channel with this lasting name."""
    with conn.cursor(row_factory=args_row(channel_row)) as cursor:
        return cursor.execute(FIND_CHANNEL, {"channel_point": channel_point}).fetchone()


def node_of(conn: Connection, channel_point: OutPoint) -> str | None:
    """The node that opened this channel here."""
    row = conn.execute(NODE_OF, {"channel_point": channel_point}).fetchone()
    return None if row is None else str(row[0])


def by_ids(conn: Connection, channel_ids: Sequence[int]) -> list[ChannelRow]:
    """The channels with these ids, by id; unknown ids are left out."""
    with conn.cursor(row_factory=args_row(channel_row)) as cursor:
        return cursor.execute(FIND_CHANNELS, {"ids": list(channel_ids)}).fetchall()


def list_channels(
    conn: Connection,
    *,
    state: State | None = None,
    node: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[ChannelRow]:
    """Channels by id, those with an id above `after`, at most `limit`."""
    facts = {
        "state": None if state is None else state.value,
        "node": node,
        "after": after,
        "limit": limit,
    }
    with conn.cursor(row_factory=args_row(channel_row)) as cursor:
        return cursor.execute(LIST_CHANNELS, facts).fetchall()


def mark_closed_many(conn: Connection, closes: Sequence[tuple[int, MarkChannelClosed]]) -> None:
    """Store the facts of closes and their resolutions (P2), of each channel at most once."""
    if not closes:
        return
    facts = {
        "channel_ids": [channel_id for channel_id, _ in closes],
        "kinds": [closed.kind.value for _, closed in closes],
        "txids": [closed.closing_txid for _, closed in closes],
        "heights": [closed.height for _, closed in closes],
        "resolutions": [encode(closed.resolutions).decode() for _, closed in closes],
    }
    conn.execute(INSERT_RESOLUTIONS, facts)


def mark_reopened(conn: Connection, channel_id: int) -> None:
    """A reorg took the close back: forget its facts. The docket keeps them."""
    conn.execute(DELETE_RESOLUTIONS, {"channel_id": channel_id})


def mark_fully_resolved_many(conn: Connection, ends: Iterable[tuple[int, BlockHeight]]) -> None:
    """In these channels, each named at most once, nothing is left to win or lose since a height."""
    given = list(ends)
    if given:
        facts = {
            "channel_ids": [channel_id for channel_id, _ in given],
            "heights": [height for _, height in given],
        }
        conn.execute(SET_RESOLVED_HEIGHT, facts)


def mark_unresolved(conn: Connection, channel_id: int) -> None:
    """A reorg took back a contract's spend: the channel is closed but not fully resolved."""
    conn.execute(CLEAR_RESOLVED_HEIGHT, {"channel_id": channel_id})


def channel_row(
    channel_id: int,
    channel_point: bytes,
    node: str,
    capacity_sat: int,
    state: str,
    close_kind: str | None,
    closing_txid: bytes | None,
    closed_height: int | None,
    fully_resolved_height: int | None,
    created_at: datetime,
    applied_seq: int,
    last_seq: int,
) -> ChannelRow:
    """A row of `SELECT_CHANNELS`."""
    return ChannelRow(
        id=channel_id,
        channel_point=OutPoint(channel_point),
        node=node,
        capacity_sat=Satoshi(capacity_sat),
        state=state,
        close_kind=close_kind,
        closing_txid=None if closing_txid is None else Txid(closing_txid),
        closed_height=None if closed_height is None else BlockHeight(closed_height),
        fully_resolved_height=(
            None if fully_resolved_height is None else BlockHeight(fully_resolved_height)
        ),
        created_at=created_at,
        applied_seq=applied_seq,
        last_seq=last_seq,
    )
