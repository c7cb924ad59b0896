"""The chain as the watcher has followed it: the last blocks by hash, and one cursor.

Blocks that leave the best chain are marked stale. The cursor goes one block at a time, up or
down, and only by the hand of the lease's present epoch; its `step` grows with every move, so
(step, channel) names an event of a block even when the chain flaps between two tips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import args_row

from contractcourt.units import BlockHash, BlockHeight
from storage import lease
from storage.database import Connection
from storage.errors import CursorMismatch

#: How many blocks below the cursor are kept: four weeks, twice what a retarget looks back.
KEPT_BLOCKS = 4032

SECONDS_STANDING = """
    SELECT extract(epoch FROM clock_timestamp() - b.connected_at)::float8
    FROM chain_cursor AS k JOIN blocks AS b ON b.hash = k.hash
"""
READ_CURSOR = "SELECT height, hash, step FROM chain_cursor"
UPSERT_BLOCK = """
    INSERT INTO blocks AS b (hash, prev_hash, height)
    VALUES (%(hash)s, %(prev_hash)s, %(height)s)
    ON CONFLICT (hash) DO UPDATE SET
        stale = false, prev_hash = coalesce(EXCLUDED.prev_hash, b.prev_hash),
        connected_at = EXCLUDED.connected_at
"""
SEED_BLOCKS = """
    INSERT INTO blocks (hash, prev_hash, height)
    SELECT * FROM unnest(%(hashes)s::bytea[], %(prev_hashes)s::bytea[], %(heights)s::integer[])
    ON CONFLICT (hash) DO NOTHING
"""
INSERT_CURSOR = """
    INSERT INTO chain_cursor (height, hash) VALUES (%(height)s, %(hash)s)
    ON CONFLICT (only_row) DO NOTHING
"""
CONNECT = """
    UPDATE chain_cursor SET height = %(height)s, hash = %(hash)s, step = step + 1
    WHERE hash = %(prev_hash)s AND height = %(height)s - 1
    RETURNING step
"""
DISCONNECT = """
    UPDATE chain_cursor AS k
    SET height = k.height - 1, hash = b.prev_hash, step = k.step + 1
    FROM blocks AS b JOIN blocks AS below ON below.hash = b.prev_hash
    WHERE k.hash = %(hash)s AND k.height = %(height)s AND b.hash = k.hash
    RETURNING k.step
"""
LEAVE_ALL = "UPDATE blocks SET stale = true WHERE NOT stale"
RESEAT = "UPDATE chain_cursor SET height = %(height)s, hash = %(hash)s, step = step + 1"
#: A block that is known already, from before or from another branch, is of the best chain again.
SEED_AGAIN = """
    INSERT INTO blocks AS b (hash, prev_hash, height)
    SELECT * FROM unnest(%(hashes)s::bytea[], %(prev_hashes)s::bytea[], %(heights)s::integer[])
    ON CONFLICT (hash) DO UPDATE
    SET stale = false, prev_hash = coalesce(EXCLUDED.prev_hash, b.prev_hash)
"""
MARK_STALE = "UPDATE blocks SET stale = true WHERE hash = %(hash)s"
FORGET_OLD = "DELETE FROM blocks WHERE height < %(height)s"
RECENT = """
    SELECT height, hash FROM blocks
    WHERE NOT stale AND height <= (SELECT height FROM chain_cursor)
    ORDER BY height DESC
    LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last block whose events are on the docket, and how many moves led there."""

    height: BlockHeight
    hash: BlockHash
    step: int


def cursor(conn: Connection) -> Cursor | None:
    """Where the court stands in the chain; None before `init_cursor`."""
    with conn.cursor(row_factory=args_row(_cursor)) as rows:
        return rows.execute(READ_CURSOR).fetchone()


def seconds_standing(conn: Connection) -> float:
    """How long ago the cursor's block was taken in; 0 before there is a cursor."""
    row = conn.execute(SECONDS_STANDING).fetchone()
    return 0.0 if row is None else float(row[0])


def init_cursor(
    conn: Connection,
    height: BlockHeight,
    block_hash: BlockHash,
    ancestors: Sequence[BlockHash] = (),
) -> Cursor:
    """Begin to follow after this block, unless a cursor stands already; the cursor as it is.

    `ancestors` are the blocks below, the nearest first: as deep as they go, a later reorg can
    take the cursor.
    """
    standing = cursor(conn)
    if standing is None:
        conn.execute(SEED_BLOCKS, _as_chain(height, block_hash, ancestors))
        conn.execute(INSERT_CURSOR, {"height": height, "hash": block_hash})
        standing = cursor(conn)
    assert standing is not None
    return standing


def connect(
    conn: Connection, height: BlockHeight, block_hash: BlockHash, prev_hash: BlockHash, epoch: int
) -> int:
    """Move the cursor up to this block; the new step.

    Raises:
        Fenced: another watcher leads by now.
        CursorMismatch: the block does not follow the cursor.
    """
    lease.hold(conn, lease.CHAIN_WATCHER, epoch)
    facts = {"height": height, "hash": block_hash, "prev_hash": prev_hash}
    conn.execute(UPSERT_BLOCK, facts)
    moved = conn.execute(CONNECT, facts).fetchone()
    if moved is None:
        raise CursorMismatch(f"block {block_hash} at {height} does not follow the cursor")
    conn.execute(FORGET_OLD, {"height": height - KEPT_BLOCKS})
    return int(moved[0])


def disconnect(conn: Connection, height: BlockHeight, block_hash: BlockHash, epoch: int) -> int:
    """Move the cursor down from this block, which left the best chain; the new step.

    Raises:
        Fenced: another watcher leads by now.
        CursorMismatch: the cursor is not at this block, or nothing is known below it.
    """
    lease.hold(conn, lease.CHAIN_WATCHER, epoch)
    facts = {"height": height, "hash": block_hash}
    moved = conn.execute(DISCONNECT, facts).fetchone()
    if moved is None:
        raise CursorMismatch(f"the cursor cannot go down from block {block_hash} at {height}")
    conn.execute(MARK_STALE, facts)
    return int(moved[0])


def leap(
    conn: Connection,
    height: BlockHeight,
    block_hash: BlockHash,
    ancestors: Sequence[BlockHash],
    epoch: int,
) -> Cursor:
    """Set the cursor on this block, wherever it stood; `ancestors` as for `init_cursor`.

    Raises:
        Fenced: another watcher leads by now.
    """
    lease.hold(conn, lease.CHAIN_WATCHER, epoch)
    conn.execute(LEAVE_ALL)
    conn.execute(SEED_AGAIN, _as_chain(height, block_hash, ancestors))
    conn.execute(RESEAT, {"height": height, "hash": block_hash})
    standing = cursor(conn)
    assert standing is not None
    return standing


def _as_chain(
    height: BlockHeight, block_hash: BlockHash, ancestors: Sequence[BlockHash]
) -> dict[str, object]:
    """A block and those below it, as rows."""
    chain = (block_hash, *ancestors)
    return {
        "hashes": list(chain),
        "prev_hashes": [*chain[1:], None],
        "heights": [height - depth for depth in range(len(chain))],
    }


def recent_hashes(conn: Connection, limit: int) -> list[tuple[BlockHeight, BlockHash]]:
    """The newest blocks of the chain that was followed, from the cursor downwards."""
    rows = conn.execute(RECENT, {"limit": limit})
    return [(BlockHeight(height), BlockHash(block_hash)) for height, block_hash in rows]


def _cursor(height: int, block_hash: bytes, step: int) -> Cursor:
    return Cursor(BlockHeight(height), BlockHash(block_hash), step)
