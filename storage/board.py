"""Channels chosen as an operator looks for them.

Every question here costs about the same at a thousand channels as at a million: pages go by key
and counts stop at a bound.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import args_row

from contractcourt.case import State
from contractcourt.effects import CloseKind
from contractcourt.units import BlockHeight
from storage import at_risk
from storage.channels import SELECT_CHANNELS, ChannelRow, channel_row
from storage.database import Connection

#: From the decision to close until nothing is left to win or lose.
IN_COURT = tuple(
    state.value for state in State if state not in (State.DEFAULT, State.FULLY_RESOLVED)
)

#: Only what is asked for stands in a query, so that each one gets a plan of its own.
_CONDITIONS = {
    "state": "c.state = %(state)s",
    "node": "c.node = %(node)s",
    "close_kind": "r.close_kind = %(close_kind)s",
    "due_by": f"c.id IN ({at_risk.CHANNELS_DUE_BY})",
    "alarmed": "c.id IN (SELECT a.channel_id FROM alarms AS a WHERE a.cleared_at IS NULL)",
}
LATEST_IN_COURT = """
    SELECT c.id FROM channels AS c
    WHERE c.state = ANY(%(states)s)
    ORDER BY c.id DESC
    LIMIT %(limit)s
"""
COUNT_STATES = """
    SELECT named.state, (SELECT count(*) FROM (
        SELECT 1 FROM channels AS c WHERE c.state = named.state LIMIT %(most)s) AS counted)
    FROM unnest(%(states)s::text[]) AS named (state)
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; None stands for anything. `due_by`: money is lost by waiting so long."""

    state: State | None = None
    node: str | None = None
    close_kind: CloseKind | None = None
    due_by: BlockHeight | None = None
    alarmed: bool | None = None


def choose(
    conn: Connection, wanted: Wanted, *, after: int = 0, limit: int = 50
) -> list[ChannelRow]:
    """Channels by id, those with an id above `after`, at most `limit`."""
    asked = {name: getattr(wanted, name) for name in _CONDITIONS}
    conditions = ["c.id > %(after)s"]
    conditions += [_CONDITIONS[name] for name, value in asked.items() if value is not None]
    query = f"{SELECT_CHANNELS} WHERE {' AND '.join(conditions)} ORDER BY c.id LIMIT %(limit)s"
    facts = {**asked, "after": after, "limit": limit, **at_risk.REASONS}
    with conn.cursor(row_factory=args_row(channel_row)) as cursor:
        return cursor.execute(query, facts).fetchall()


def latest_in_court(conn: Connection, limit: int) -> list[int]:
    """Ids of channels that are closing or not fully resolved, the newest channels first."""
    rows = conn.execute(LATEST_IN_COURT, {"states": list(IN_COURT), "limit": limit})
    return [int(row[0]) for row in rows]


def count_states(conn: Connection, most: int) -> dict[State, int]:
    """How many channels stand in each state, counted no further than `most`."""
    facts = {"states": [state.value for state in State], "most": most}
    return {State(state): int(count) for state, count in conn.execute(COUNT_STATES, facts)}
