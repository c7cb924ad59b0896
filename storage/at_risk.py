"""Money that waiting would lose: by which height, in which channel.

Two things press: an entry of the deadline index whose reason says so, and a sweep that should be
mined by a height and is not. Everything else in the index is an appointment (a delay runs out, a
spend is buried): nothing is lost when it passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import args_row

from contractcourt.effects import PRESSING
from contractcourt.units import BlockHeight, Satoshi
from storage.database import Connection

#: What every query here is asked with.
REASONS = {"pressing": list(PRESSING)}
_DUE = """
    SELECT d.channel_id, d.height, d.value_at_risk_sat AS value_sat FROM deadlines AS d
    WHERE d.reason = ANY(%(pressing)s) AND d.value_at_risk_sat > 0
"""
_TO_BE_MINED = """
    SELECT w.channel_id, w.deadline AS height, coalesce(w.value_sat, 0) AS value_sat
    FROM sweep_inputs AS w
    WHERE w.deadline IS NOT NULL AND w.state IN ('wanted', 'quarantined')
      AND NOT EXISTS (SELECT 1 FROM spends AS s WHERE s.outpoint = w.outpoint AND NOT s.stale)
"""
#: The channels of a filter: whatever presses up to a height.
CHANNELS_DUE_BY = f"""
    SELECT due.channel_id FROM ({_DUE} AND d.height <= %(due_by)s) AS due
    UNION ALL
    SELECT due.channel_id FROM ({_TO_BE_MINED} AND w.deadline <= %(due_by)s) AS due
"""
OF_CHANNELS = f"""
    SELECT due.channel_id, min(due.height), sum(due.value_sat)::bigint
    FROM ({_DUE} AND d.channel_id = ANY(%(channel_ids)s)
          UNION ALL
          {_TO_BE_MINED} AND w.channel_id = ANY(%(channel_ids)s)) AS due
    GROUP BY due.channel_id
"""
MOST_PRESSING = f"""
    SELECT due.channel_id, min(due.height) AS height, sum(due.value_sat)::bigint
    FROM (({_DUE} ORDER BY d.height LIMIT %(limit)s)
          UNION ALL
          ({_TO_BE_MINED} ORDER BY w.deadline LIMIT %(limit)s)) AS due
    GROUP BY due.channel_id
    ORDER BY height, due.channel_id
    LIMIT %(limit)s
"""
#: What the deadline index does not know: heights by which sweeps should be mined.
SWEEPS_DUE = f"{_TO_BE_MINED} ORDER BY w.deadline, w.channel_id LIMIT %(limit)s"
#: What presses within each of `horizons` blocks from the chain cursor on; each row is read once.
WITHIN = f"""
    WITH due AS MATERIALIZED (
        ({_DUE} AND d.height <= (SELECT height FROM chain_cursor)
                              + (SELECT max(one) FROM unnest(%(horizons)s::int[]) AS one)
         ORDER BY d.height LIMIT %(most)s)
        UNION ALL
        ({_TO_BE_MINED} AND w.deadline <= (SELECT height FROM chain_cursor)
                              + (SELECT max(one) FROM unnest(%(horizons)s::int[]) AS one)
         ORDER BY w.deadline LIMIT %(most)s)
    )
    SELECT within.horizon, coalesce(sum(due.value_sat), 0) AS value_sat
    FROM unnest(%(horizons)s::int[]) AS within (horizon)
    LEFT JOIN due ON due.height <= (SELECT height FROM chain_cursor) + within.horizon
    GROUP BY within.horizon
"""
#: Of each sort no more than `most`, the nearest ones.
TOTAL = f"""
    SELECT count(*), coalesce(sum(due.value_sat), 0)::bigint
    FROM (({_DUE} ORDER BY d.height LIMIT %(most)s)
          UNION ALL
          ({_TO_BE_MINED} ORDER BY w.deadline LIMIT %(most)s)) AS due
"""
#: No more rows than `most` of each sort are read, the nearest ones.
BY_HEIGHT = f"""
    SELECT due.height, due.pressing, count(*), sum(due.value_sat)::bigint
    FROM ((SELECT p.height, true AS pressing, p.value_sat
           FROM ({_DUE} AND d.height <= %(upto)s ORDER BY d.height LIMIT %(most)s) AS p)
          UNION ALL
          (SELECT p.height, true, p.value_sat
           FROM ({_TO_BE_MINED} AND w.deadline <= %(upto)s
                 ORDER BY w.deadline LIMIT %(most)s) AS p)
          UNION ALL
          (SELECT d.height, false, d.value_at_risk_sat FROM deadlines AS d
           WHERE d.reason <> ALL(%(pressing)s) AND d.value_at_risk_sat > 0
             AND d.height <= %(upto)s
           ORDER BY d.height LIMIT %(most)s)) AS due
    GROUP BY due.height, due.pressing
    ORDER BY due.height, due.pressing DESC
"""


@dataclass(frozen=True, slots=True)
class Stake:
    """What presses in one channel: the nearest height, and all that depends on it and later."""

    channel_id: int
    height: BlockHeight
    value_sat: Satoshi


@dataclass(frozen=True, slots=True)
class HeightSum:
    """All that falls on one height. Only what is `pressing` is lost by waiting."""

    height: BlockHeight
    pressing: bool
    count: int
    value_sat: Satoshi


def of_channels(conn: Connection, channel_ids: Sequence[int]) -> dict[int, Stake]:
    """What presses in each of these channels; those in which nothing does are left out."""
    facts = {"channel_ids": list(channel_ids), **REASONS}
    with conn.cursor(row_factory=args_row(_stake)) as cursor:
        return {one.channel_id: one for one in cursor.execute(OF_CHANNELS, facts)}


def most_pressing(conn: Connection, limit: int) -> list[Stake]:
    """The channels in which something presses, the nearest height first."""
    facts = {"limit": limit, **REASONS}
    with conn.cursor(row_factory=args_row(_stake)) as cursor:
        return cursor.execute(MOST_PRESSING, facts).fetchall()


def total(conn: Connection, most: int) -> tuple[Satoshi, bool]:
    """All that presses anywhere, and whether that is all: the nearest `most` of each sort count."""
    count, value_sat = conn.execute(TOTAL, {"most": most, **REASONS}).fetchall()[0]
    return Satoshi(value_sat), count < most


def by_height(conn: Connection, upto: BlockHeight, most: int = 5_000) -> list[HeightSum]:
    """Deadlines and appointments up to a height, summed by height, from the nearest on."""
    facts = {"upto": upto, "most": most, **REASONS}
    with conn.cursor(row_factory=args_row(_height_sum)) as cursor:
        return cursor.execute(BY_HEIGHT, facts).fetchall()


def _stake(channel_id: int, height: int, value_sat: int) -> Stake:
    return Stake(channel_id, BlockHeight(height), Satoshi(value_sat))


def _height_sum(height: int, pressing: bool, count: int, value_sat: int) -> HeightSum:
    return HeightSum(BlockHeight(height), pressing, count, Satoshi(value_sat))
