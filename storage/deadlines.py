"""The deadline index: which case wants to be woken at which height, and what is at risk there.

All waiting is done here and none of it in the broker (users_ask C2). A channel with nothing due
costs nothing at a new block.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from psycopg.rows import args_row

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.effects import WakeAt
from contractcourt.units import BlockHeight, Satoshi
from storage import at_risk
from storage.database import Connection

ADD = """
    INSERT INTO deadlines AS d
        (channel_id, height, hard_height, reason, value_at_risk_sat, urgent)
    SELECT channel_id, height, min(coalesce(hard_height, height)), reason,
           max(value_at_risk_sat), bool_or(urgent)
    FROM unnest(%(channel_ids)s::bigint[], %(heights)s::integer[], %(hard_heights)s::integer[],
                %(reasons)s::text[], %(values)s::bigint[], %(urgent)s::boolean[])
        AS given (channel_id, height, hard_height, reason, value_at_risk_sat, urgent)
    GROUP BY channel_id, height, reason
    ON CONFLICT (height, channel_id, reason) DO UPDATE
        SET value_at_risk_sat = EXCLUDED.value_at_risk_sat, hard_height = EXCLUDED.hard_height
    WHERE (d.value_at_risk_sat, d.hard_height)
       <> (EXCLUDED.value_at_risk_sat, EXCLUDED.hard_height)
"""
_DUE = "FROM deadlines AS d WHERE d.height <= %(height)s AND d.urgent = %(urgent)s"
_THE_LOWEST_FIRST = "ORDER BY d.height, d.channel_id LIMIT %(limit)s"
DUE = f"SELECT DISTINCT d.height, d.channel_id {_DUE} {_THE_LOWEST_FIRST}"
#: A case that is woken looks at all its HTLCs: what only reminds of one waits with it.
DUE_IN_GRACE = f"""
    SELECT DISTINCT d.height, d.channel_id {_DUE} AND d.hard_height <= %(height)s
      AND (d.urgent OR NOT EXISTS (
        SELECT 1 FROM deadlines AS held
        WHERE held.channel_id = d.channel_id AND held.height <= %(height)s
          AND held.hard_height > %(height)s))
    {_THE_LOWEST_FIRST}
"""
#: Row by row on purpose: an index that was empty when statistics were taken misleads the planner.
DELETE_FIRED = """
    DELETE FROM deadlines WHERE ctid = ANY(ARRAY(
        SELECT due.ctid
        FROM unnest(%(channel_ids)s::bigint[], %(heights)s::integer[])
            AS fired (channel_id, height)
        CROSS JOIN LATERAL (
            SELECT d.ctid FROM deadlines AS d
            WHERE d.height = fired.height AND d.channel_id = fired.channel_id
            OFFSET 0
        ) AS due))
"""
#: Row by row for the same reason.
STOP = """
    DELETE FROM deadlines WHERE ctid = ANY(ARRAY(
        SELECT clock.ctid
        FROM unnest(%(channel_ids)s::bigint[], %(heights)s::integer[], %(reasons)s::text[])
            AS stopped (channel_id, height, reason)
        CROSS JOIN LATERAL (
            SELECT d.ctid FROM deadlines AS d
            WHERE d.height = stopped.height AND d.channel_id = stopped.channel_id
              AND d.reason = stopped.reason
            OFFSET 0
        ) AS clock))
"""
#: Row by row for the same reason.
DELETE_AT_STAKE = """
    DELETE FROM deadlines WHERE ctid = ANY(ARRAY(
        SELECT stake.ctid
        FROM unnest(%(channel_ids)s::bigint[]) AS settled (channel_id)
        CROSS JOIN LATERAL (
            SELECT d.ctid FROM deadlines AS d
            WHERE d.channel_id = settled.channel_id AND d.value_at_risk_sat > 0
            OFFSET 0
        ) AS stake))
"""
LIST = """
    SELECT d.channel_id, c.channel_point, d.height, d.reason, d.value_at_risk_sat
    FROM deadlines AS d JOIN channels AS c ON c.id = d.channel_id
    WHERE d.height >= %(from_height)s
      AND (%(channel_id)s::bigint IS NULL OR d.channel_id = %(channel_id)s)
    ORDER BY d.height, d.channel_id, d.reason
    LIMIT %(limit)s
"""
#: Of a case that is closed the index alone would tell of no loss.
NEAREST = f"""
    SELECT due.channel_id, c.channel_point, due.height, due.reason, due.value_sat
    FROM ((SELECT d.channel_id, d.height, d.reason, d.value_at_risk_sat AS value_sat
           FROM deadlines AS d ORDER BY d.height, d.channel_id, d.reason LIMIT %(limit)s)
          UNION ALL
          SELECT s.channel_id, s.height, %(to_be_mined)s, s.value_sat
          FROM ({at_risk.SWEEPS_DUE}) AS s) AS due
    JOIN channels AS c ON c.id = due.channel_id
    ORDER BY due.height, due.channel_id, due.reason
    LIMIT %(limit)s
"""
_TO_BE_MINED = "a sweep is to be mined"


@dataclass(frozen=True, slots=True)
class Deadline:
    """One height at which a case wants to look again, or by which a sweep should be mined, and
    the money that depends on it."""

    channel_id: int
    channel_point: OutPoint
    height: BlockHeight
    reason: str
    value_at_risk_sat: Satoshi


def add(conn: Connection, channel_id: int, wake: WakeAt) -> None:
    """Wake a channel's case at a height."""
    add_many(conn, [(channel_id, wake)])


def add_many(conn: Connection, wakes: Sequence[tuple[int, WakeAt]]) -> None:
    """`add` for many, in one statement. The same channel, height and reason is one deadline."""
    if wakes:
        facts = {
            "channel_ids": [channel_id for channel_id, _ in wakes],
            "heights": [wake.height for _, wake in wakes],
            "hard_heights": [wake.hard_height for _, wake in wakes],
            "reasons": [wake.reason for _, wake in wakes],
            "values": [wake.value_at_risk_sat for _, wake in wakes],
            "urgent": [wake.urgent for _, wake in wakes],
        }
        conn.execute(ADD, facts)


def due(
    conn: Connection,
    height: BlockHeight,
    limit: int,
    *,
    urgent: bool = False,
    in_grace: bool = False,
) -> list[tuple[int, BlockHeight]]:
    """(channel id, height) of what falls due up to `height`, the lowest height first.

    Args:
        urgent: what an HTLC depends on; else all the rest.
        in_grace: only what can't wait any longer (users_ask L13).
    """
    facts = {"height": height, "limit": limit, "urgent": urgent}
    rows = conn.execute(DUE_IN_GRACE if in_grace else DUE, facts)
    return [(channel_id, BlockHeight(due_height)) for due_height, channel_id in rows]


def delete_fired(conn: Connection, fired: Iterable[tuple[int, BlockHeight]]) -> None:
    """Take these off the index, in the transaction that puts their events on the docket."""
    given = list(fired)
    if given:
        facts = {
            "channel_ids": [channel_id for channel_id, _ in given],
            "heights": [height for _, height in given],
        }
        conn.execute(DELETE_FIRED, facts)


def stop_many(conn: Connection, clocks: Sequence[tuple[int, BlockHeight, str]]) -> None:
    """These, as (channel, height, reason), are deadlines no more."""
    if clocks:
        facts = {
            "channel_ids": [channel_id for channel_id, _, _ in clocks],
            "heights": [height for _, height, _ in clocks],
            "reasons": [reason for _, _, reason in clocks],
        }
        conn.execute(STOP, facts)


def delete_at_stake(conn: Connection, channel_ids: Collection[int]) -> None:
    """Nothing is left to lose in these channels: take off every deadline with money at risk.

    An appointment without any stays. A close that was acted on early may be fully resolved before
    it is buried, and upstream is failed then.
    """
    if channel_ids:
        conn.execute(DELETE_AT_STAKE, {"channel_ids": list(channel_ids)})


def nearest(conn: Connection, limit: int = 100) -> list[Deadline]:
    """Deadlines of all channels, and sweeps that are not mined yet, the nearest height first."""
    facts = {"limit": limit, "to_be_mined": _TO_BE_MINED}
    with conn.cursor(row_factory=args_row(_deadline)) as cursor:
        return cursor.execute(NEAREST, facts).fetchall()


def list_deadlines(
    conn: Connection,
    limit: int = 100,
    *,
    from_height: int = 0,
    channel_id: int | None = None,
) -> list[Deadline]:
    """Deadlines from a height on, the nearest first; of one channel when it is given."""
    facts = {"limit": limit, "from_height": from_height, "channel_id": channel_id}
    with conn.cursor(row_factory=args_row(_deadline)) as cursor:
        return cursor.execute(LIST, facts).fetchall()


def _deadline(
    channel_id: int, channel_point: bytes, height: int, reason: str, value_at_risk_sat: int
) -> Deadline:
    return Deadline(
        channel_id=channel_id,
        channel_point=OutPoint(channel_point),
        height=BlockHeight(height),
        reason=reason,
        value_at_risk_sat=Satoshi(value_at_risk_sat),
    )
