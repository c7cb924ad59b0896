"""How broadcasts end: the chain settles them, or the court gives them up itself.

A broadcast is settled by what was spent, never by what a node answered (users_ask L1): when one
of its inputs is spent on the best chain it is confirmed, or conflicted if another transaction
did it. A reorg opens it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contractcourt.units import Txid
from storage.broadcasts import SWEEPER, BroadcastState
from storage.database import Connection

#: One that is mined by now counts as confirmed, whatever whoever gives it up has seen of it.
ABANDON = """
    UPDATE broadcasts AS b
    SET state = CASE WHEN EXISTS (
        SELECT 1 FROM broadcast_inputs AS i JOIN spends AS s ON s.outpoint = i.outpoint
        WHERE i.broadcast_id = b.id AND s.txid = b.txid AND NOT s.stale
    ) THEN 'confirmed' ELSE 'abandoned' END
    WHERE b.id = ANY(%(ids)s) AND b.state = 'open'
"""
#: A reorg may open both a sweep and the one that outbid it: the better offer stays.
ABANDON_OUTBID = """
    UPDATE broadcasts AS b SET state = 'abandoned'
    WHERE b.state = 'open' AND b.purpose = ANY(%(sweeper)s)
      AND EXISTS (
          SELECT 1
          FROM broadcast_inputs AS mine
          JOIN broadcast_inputs AS other ON other.outpoint = mine.outpoint
          JOIN broadcasts AS better ON better.id = other.broadcast_id
          WHERE mine.broadcast_id = b.id AND better.id > b.id AND better.state = 'open')
"""
#: Open ones, and those settled by a spend that went stale, against the best chain's spends.
SETTLE = """
    WITH candidates AS (
        SELECT id FROM broadcasts
        WHERE state = 'open' AND (%(node)s::text IS NULL OR node = %(node)s)
        UNION
        SELECT i.broadcast_id FROM spends AS s
        JOIN broadcast_inputs AS i ON i.outpoint = s.outpoint
        WHERE s.stale
    ), judged AS (
        SELECT b.id, b.state AS state_before,
               CASE WHEN bool_or(s.txid = b.txid) THEN 'confirmed'
                    WHEN bool_or(s.txid <> b.txid) THEN 'conflicted'
                    ELSE 'open' END AS state
        FROM candidates
        JOIN broadcasts AS b ON b.id = candidates.id
        JOIN broadcast_inputs AS i ON i.broadcast_id = b.id
        LEFT JOIN spends AS s ON s.outpoint = i.outpoint AND NOT s.stale
        WHERE b.state <> 'abandoned'
        GROUP BY b.id
    )
    UPDATE broadcasts AS b SET state = judged.state
    FROM judged
    WHERE b.id = judged.id AND b.state = judged.state_before AND judged.state <> b.state
    RETURNING b.id, b.channel_id, b.txid, b.state
"""
#: Given up while the block that mined it was stored: what was to take its place tells of it.
CONFIRM_WHAT_WAS_QUICKER = """
    UPDATE broadcasts SET state = 'confirmed'
    WHERE state = 'abandoned' AND txid = ANY(ARRAY(
        SELECT s.txid FROM broadcast_inputs AS i JOIN spends AS s ON s.outpoint = i.outpoint
        WHERE i.broadcast_id = ANY(%(conflicted)s) AND NOT s.stale))
"""


@dataclass(frozen=True, slots=True)
class Settled:
    """A broadcast whose state the chain has just changed."""

    id: int
    channel_id: int
    txid: Txid
    state: BroadcastState


def abandon(conn: Connection, ids: Sequence[int]) -> None:
    """Send these no more."""
    if ids:
        conn.execute(ABANDON, {"ids": list(ids)})


def settle(conn: Connection, node: str | None = None) -> list[Settled]:
    """Hold open broadcasts, all or a node's, against the chain; those that changed."""
    settled = [
        Settled(broadcast_id, channel_id, Txid(txid), BroadcastState(state))
        for broadcast_id, channel_id, txid, state in conn.execute(SETTLE, {"node": node})
    ]
    if any(one.state is BroadcastState.OPEN for one in settled):
        conn.execute(ABANDON_OUTBID, {"sweeper": SWEEPER})
    conflicted = [one.id for one in settled if one.state is BroadcastState.CONFLICTED]
    if conflicted:
        conn.execute(CONFIRM_WHAT_WAS_QUICKER, {"conflicted": conflicted})
    return settled
