"""The outpoints whose spend some case waits for, and how a watcher follows the list.

Removing is soft: a follower must see it. Rows carry the transaction that changed them last, and
a follower reads on from the oldest transaction that was still open when it read before, so a
change that commits late is never missed; some changes are read twice, which does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from psycopg.rows import args_row

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.effects import WatchOutpoint
from contractcourt.units import BlockHeight, Script
from storage.database import Connection

ADD = """
    INSERT INTO watches AS w (channel_id, outpoint, script_pubkey, from_height)
    SELECT * FROM unnest(
        %(channel_ids)s::bigint[], %(outpoints)s::bytea[], %(scripts)s::bytea[],
        %(heights)s::integer[]) AS given (channel_id, outpoint, script_pubkey, from_height)
    ORDER BY outpoint, channel_id
    ON CONFLICT (outpoint, channel_id) DO UPDATE SET
        script_pubkey = EXCLUDED.script_pubkey, from_height = EXCLUDED.from_height,
        removed_at = NULL, looked_back = false, changed_in = pg_current_xact_id()
    WHERE w.removed_at IS NOT NULL
       OR (w.script_pubkey, w.from_height)
          IS DISTINCT FROM (EXCLUDED.script_pubkey, EXCLUDED.from_height)
"""
REMOVE = """
    UPDATE watches AS w
    SET removed_at = clock_timestamp(), changed_in = pg_current_xact_id()
    FROM unnest(%(channel_ids)s::bigint[], %(outpoints)s::bytea[])
        AS given (channel_id, outpoint)
    WHERE w.channel_id = given.channel_id AND w.outpoint = given.outpoint
      AND w.removed_at IS NULL
"""
#: Every transaction before this one has ended, and its changes are seen or will never be.
POSITION = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_COLUMNS = "id, outpoint, channel_id, script_pubkey, from_height, removed_at IS NOT NULL"
#: The upper bound leaves out numbers of another cluster, after a dump was restored.
CHANGED_SINCE = f"""
    SELECT {_COLUMNS} FROM watches
    WHERE changed_in >= %(position)s::text::xid8
      AND changed_in < pg_snapshot_xmax(pg_current_snapshot())
    ORDER BY id
"""
ACTIVE = """
    SELECT id, outpoint, channel_id FROM watches
    WHERE id > %(after_id)s AND removed_at IS NULL
    ORDER BY id
    LIMIT %(limit)s
"""
FIND_ACTIVE = f"""
    SELECT {_COLUMNS} FROM watches
    WHERE outpoint = ANY(%(outpoints)s) AND removed_at IS NULL
    ORDER BY id
"""
EVER = "SELECT outpoint, channel_id FROM watches WHERE outpoint = ANY(%(outpoints)s)"
TO_LOOK_BACK = f"""
    SELECT {_COLUMNS} FROM watches
    WHERE NOT looked_back AND removed_at IS NULL
    ORDER BY id
    LIMIT %(limit)s
"""
LOOKED_BACK = "UPDATE watches SET looked_back = true WHERE id = ANY(%(ids)s) AND NOT looked_back"
LOOK_BACK_AGAIN = """
    UPDATE watches AS w SET looked_back = false
    WHERE w.removed_at IS NULL AND w.looked_back
      AND NOT EXISTS (SELECT 1 FROM spends AS s WHERE s.outpoint = w.outpoint AND NOT s.stale)
"""
OF_CHANNEL = f"""
    SELECT {_COLUMNS} FROM watches
    WHERE channel_id = %(channel_id)s AND removed_at IS NULL
    ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class Watch:
    """One watched outpoint of one channel. `from_height`: where it was made, if known."""

    id: int
    outpoint: OutPoint
    channel_id: int
    script_pubkey: Script
    from_height: BlockHeight | None
    removed: bool


@dataclass(frozen=True, slots=True)
class WatchChanges:
    """What changed since a position."""

    added: tuple[Watch, ...]
    removed: tuple[Watch, ...]


def add(conn: Connection, channel_id: int, watch: WatchOutpoint) -> None:
    """Watch an outpoint for a channel; watching it twice is once."""
    add_many(conn, [(channel_id, watch)])


def add_many(conn: Connection, watches: Sequence[tuple[int, WatchOutpoint]]) -> None:
    """`add` for many, in one statement. Of two for one outpoint the later knows more."""
    if watches:
        once = {(channel_id, watch.outpoint): watch for channel_id, watch in watches}
        facts = {
            "channel_ids": [channel_id for channel_id, _ in once],
            "outpoints": [outpoint for _, outpoint in once],
            "scripts": [watch.script_pubkey for watch in once.values()],
            "heights": [watch.from_height for watch in once.values()],
        }
        conn.execute(ADD, facts)


def remove(conn: Connection, channel_id: int, outpoint: OutPoint) -> None:
    """Watch an outpoint no longer for this channel."""
    remove_many(conn, [(channel_id, outpoint)])


def remove_many(conn: Connection, watches: Iterable[tuple[int, OutPoint]]) -> None:
    """`remove` for many, in one statement."""
    given = list(watches)
    if given:
        facts = {
            "channel_ids": [channel_id for channel_id, _ in given],
            "outpoints": [outpoint for _, outpoint in given],
        }
        conn.execute(REMOVE, facts)


def position(conn: Connection) -> int:
    """Where to read on from later, taken before reading: no change is missed in between."""
    return int(conn.execute(POSITION).fetchall()[0][0])


def active(conn: Connection, page: int = 10_000) -> Iterator[tuple[bytes, int]]:
    """(outpoint, channel id) of all that is watched.

    Page by page, so that no statement nears its time limit, and plain, so that a start with a
    million of them builds nothing it throws away.
    """
    after_id = 0
    while True:
        with conn.cursor(binary=True) as cursor:
            found = cursor.execute(ACTIVE, {"after_id": after_id, "limit": page}).fetchall()
        for _, outpoint, channel_id in found:
            yield outpoint, channel_id
        if len(found) < page:
            return
        after_id = found[-1][0]


def changed_since(conn: Connection, position: int) -> WatchChanges:
    """What changed since `position`.

    A change may be answered twice, in this call and the next; apply them as set operations.
    Changes of the caller's own open transaction are not answered.
    """
    with conn.cursor(row_factory=args_row(_watch)) as cursor:
        changed = cursor.execute(CHANGED_SINCE, {"position": str(position)}).fetchall()
    return WatchChanges(
        added=tuple(watch for watch in changed if not watch.removed),
        removed=tuple(watch for watch in changed if watch.removed),
    )


def ever(conn: Connection, outpoints: Sequence[OutPoint]) -> dict[OutPoint, set[int]]:
    """Every channel that watches one of these, or did so once, by outpoint."""
    channels: dict[OutPoint, set[int]] = {}
    if outpoints:
        for outpoint, channel_id in conn.execute(EVER, {"outpoints": list(outpoints)}):
            channels.setdefault(OutPoint(outpoint), set()).add(channel_id)
    return channels


def find(conn: Connection, outpoints: Sequence[OutPoint]) -> list[Watch]:
    """The watches on any of these outpoints."""
    with conn.cursor(row_factory=args_row(_watch)) as cursor:
        return cursor.execute(FIND_ACTIVE, {"outpoints": list(outpoints)}).fetchall()


def to_look_back(conn: Connection, limit: int) -> list[Watch]:
    """Watches whose outpoint may have been spent before anybody watched it, oldest first."""
    with conn.cursor(row_factory=args_row(_watch)) as cursor:
        return cursor.execute(TO_LOOK_BACK, {"limit": limit}).fetchall()


def looked_back(conn: Connection, ids: Sequence[int]) -> None:
    """For these the past is known; from here on the watcher sees every block."""
    conn.execute(LOOKED_BACK, {"ids": list(ids)})


def look_back_again(conn: Connection) -> int:
    """Nothing is known any more of outpoints without a confirmed spend; how many these are."""
    return conn.execute(LOOK_BACK_AGAIN).rowcount


def list_for(conn: Connection, channel_id: int) -> list[Watch]:
    """What is watched for one channel."""
    with conn.cursor(row_factory=args_row(_watch)) as cursor:
        return cursor.execute(OF_CHANNEL, {"channel_id": channel_id}).fetchall()


def _watch(
    watch_id: int,
    outpoint: bytes,
    channel_id: int,
    script_pubkey: bytes,
    from_height: int | None,
    removed: bool,
) -> Watch:
    return Watch(
        id=watch_id,
        outpoint=OutPoint(outpoint),
        channel_id=channel_id,
        script_pubkey=Script(script_pubkey),
        from_height=None if from_height is None else BlockHeight(from_height),
        removed=removed,
    )
