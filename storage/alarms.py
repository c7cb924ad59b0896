"""What an operator must look at: each thing once, until it is cleared."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import args_row

from contractcourt.alarms import AlarmKind
from contractcourt.bitcoin.outpoint import OutPoint
from storage import turns
from storage.database import Connection

RAISE = """
    INSERT INTO alarms (channel_id, node, kind, message)
    SELECT * FROM unnest(%(channel_ids)s::bigint[], %(nodes)s::text[], %(kinds)s::text[],
                         %(messages)s::text[])
    ON CONFLICT DO NOTHING
"""
#: Found by the index of what is open, which IS NOT DISTINCT FROM would not be.
_ARE_OF = """
    kind = %(kind)s AND cleared_at IS NULL
    AND (channel_id = %(channel_id)s OR (%(channel_id)s::bigint IS NULL AND channel_id IS NULL))
    AND (node = %(node)s OR (%(node)s::text IS NULL AND node IS NULL))
"""
OPEN = f"SELECT id, message FROM alarms WHERE {_ARE_OF} ORDER BY id"
OPEN_OF_NODES = """
    SELECT node, message FROM alarms
    WHERE kind = %(kind)s AND channel_id IS NULL AND node IS NOT NULL AND cleared_at IS NULL
    ORDER BY id
"""
#: What is said of it changes, as amounts do; it stays one alarm.
RESTATE = "UPDATE alarms SET message = %(message)s WHERE id = %(id)s"
CLEAR = """
    UPDATE alarms SET cleared_at = clock_timestamp()
    WHERE id = ANY(%(ids)s) AND cleared_at IS NULL
    RETURNING id
"""
CLEAR_KIND = f"UPDATE alarms SET cleared_at = clock_timestamp() WHERE {_ARE_OF}"
CLEAR_KINDS = """
    UPDATE alarms SET cleared_at = clock_timestamp()
    WHERE kind = ANY(%(kinds)s) AND channel_id = ANY(%(channel_ids)s)
      AND node IS NULL AND cleared_at IS NULL
"""
CLEAR_OF_CHANNELS = """
    UPDATE alarms AS a SET cleared_at = clock_timestamp()
    FROM channels AS c
    WHERE a.kind = %(kind)s AND a.cleared_at IS NULL
      AND c.id = a.channel_id AND c.node = %(node)s
"""
#: Row by row on purpose: what is open of a kind is little, and `unapplied` may be much.
CLEAR_HEALED = f"""
    UPDATE alarms AS a SET cleared_at = clock_timestamp()
    WHERE a.kind = '{AlarmKind.LAW_BROKEN}' AND a.channel_id IS NOT NULL AND a.cleared_at IS NULL
      AND (SELECT true FROM unapplied AS u WHERE u.channel_id = a.channel_id LIMIT 1) IS NULL
"""
_SELECT = """
    SELECT a.id, a.channel_id, c.channel_point, coalesce(a.node, c.node), a.kind, a.message,
           a.raised_at, a.cleared_at
    FROM alarms AS a LEFT JOIN channels AS c ON c.id = a.channel_id
"""
NEWEST_OPEN = f"{_SELECT} WHERE a.cleared_at IS NULL ORDER BY a.id DESC LIMIT 1"
COUNT_OPEN = """
    SELECT count(*) FROM (SELECT 1 FROM alarms WHERE cleared_at IS NULL LIMIT %(most)s) AS raised
"""
COUNT_OF_CHANNELS = """
    SELECT channel_id, count(*) FROM alarms
    WHERE channel_id = ANY(%(channel_ids)s) AND cleared_at IS NULL
    GROUP BY channel_id
"""
FIND = f"{_SELECT} WHERE a.id = ANY(%(ids)s)"
LIST_OPEN = f"""{_SELECT}
    WHERE a.cleared_at IS NULL
      AND (%(channel_id)s::bigint IS NULL OR a.channel_id = %(channel_id)s)
    ORDER BY a.id
    LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm; of no channel when it concerns a node, or the court itself.

    `cleared_at` is None while it is open.
    """

    id: int
    channel_id: int | None
    channel_point: OutPoint | None
    node: str | None
    kind: str
    message: str
    raised_at: datetime
    cleared_at: datetime | None


def raise_alarm(
    conn: Connection,
    channel_id: int | None,
    kind: AlarmKind,
    message: str,
    *,
    node: str | None = None,
) -> bool:
    """Raise an alarm; False when the same one is open already."""
    return raise_many(conn, [(channel_id, node, kind, message)]) == 1


def raise_many(
    conn: Connection, raised: Sequence[tuple[int | None, str | None, AlarmKind, str]]
) -> int:
    """Raise alarms, as (channel, node, kind, message); how many were not open already."""
    if not raised:
        return 0
    channel_ids, named, kinds, messages = zip(*raised, strict=True)
    facts = {
        "channel_ids": list(channel_ids),
        "nodes": list(named),
        "kinds": [str(kind) for kind in kinds],
        "messages": list(messages),
    }
    return conn.execute(RAISE, facts).rowcount


def keep_raised(
    conn: Connection,
    channel_id: int | None,
    kind: AlarmKind,
    message: str,
    *,
    node: str | None = None,
) -> None:
    """One open alarm of this kind, which says what is so now."""
    facts = {"channel_id": channel_id, "node": node, "kind": kind, "message": message}
    # Rounds of both lanes may find out about one channel at the same time, in other words.
    turns.take(conn, f"alarm {channel_id} {node} {kind.value}")
    found = conn.execute(OPEN, facts).fetchall()
    if not found:
        raise_alarm(conn, channel_id, kind, message, node=node)
        return
    (first, said), others = found[0], [alarm_id for alarm_id, _ in found[1:]]
    if others:
        clear(conn, others)
    if said != message:
        conn.execute(RESTATE, {"id": first, "message": message})


def open_of_nodes(conn: Connection, kind: AlarmKind) -> dict[str, list[str]]:
    """What the open alarms of this kind say, by node."""
    said: dict[str, list[str]] = {}
    for node, message in conn.execute(OPEN_OF_NODES, {"kind": kind}):
        said.setdefault(node, []).append(message)
    return said


def clear(conn: Connection, ids: Sequence[int]) -> set[int]:
    """These have been dealt with. Those of them that were open."""
    return {row[0] for row in conn.execute(CLEAR, {"ids": list(ids)})}


def clear_kind(
    conn: Connection, channel_id: int | None, kind: AlarmKind, *, node: str | None = None
) -> None:
    """All open alarms of this kind of one channel, of a node, or of the court itself are over."""
    conn.execute(CLEAR_KIND, {"channel_id": channel_id, "node": node, "kind": kind})


def clear_healed(conn: Connection) -> None:
    """Those of channels that were set aside, where another version got on with all that waited."""
    conn.execute(CLEAR_HEALED)


def clear_kinds(
    conn: Connection, channel_ids: Collection[int], kinds: Collection[AlarmKind]
) -> None:
    """All open alarms of these kinds of these channels are over."""
    facts = {"channel_ids": list(channel_ids), "kinds": [kind.value for kind in kinds]}
    conn.execute(CLEAR_KINDS, facts)


def clear_of_channels(conn: Connection, node: str, kind: AlarmKind) -> None:
    """All open alarms of this kind of this node's channels are over."""
    conn.execute(CLEAR_OF_CHANNELS, {"node": node, "kind": kind})


def find(conn: Connection, ids: Sequence[int]) -> list[Alarm]:
    """These alarms, open or over."""
    with conn.cursor(row_factory=args_row(_alarm)) as cursor:
        return cursor.execute(FIND, {"ids": list(ids)}).fetchall()


def count_open(conn: Connection, most: int) -> int:
    """How many are open, counted no further than `most`."""
    return int(conn.execute(COUNT_OPEN, {"most": most}).fetchall()[0][0])


def count_of_channels(conn: Connection, channel_ids: Collection[int]) -> dict[int, int]:
    """How many are open of each of these channels; those without one are left out."""
    return dict(conn.execute(COUNT_OF_CHANNELS, {"channel_ids": list(channel_ids)}).fetchall())


def newest_open(conn: Connection) -> Alarm | None:
    """The one that was raised last of those that are open."""
    with conn.cursor(row_factory=args_row(_alarm)) as cursor:
        return cursor.execute(NEWEST_OPEN).fetchone()


def list_open(
    conn: Connection, *, channel_id: int | None = None, limit: int | None = 1000
) -> list[Alarm]:
    """Open alarms, oldest first; of one channel when it is given, all of them without a limit."""
    with conn.cursor(row_factory=args_row(_alarm)) as cursor:
        return cursor.execute(LIST_OPEN, {"channel_id": channel_id, "limit": limit}).fetchall()


def _alarm(
    alarm_id: int,
    channel_id: int | None,
    channel_point: bytes | None,
    node: str | None,
    kind: str,
    message: str,
    raised_at: datetime,
    cleared_at: datetime | None,
) -> Alarm:
    point = None if channel_point is None else OutPoint(channel_point)
    return Alarm(alarm_id, channel_id, point, node, kind, message, raised_at, cleared_at)
