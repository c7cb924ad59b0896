"""Channels chosen as an operator looks for them.

Every question here costs about the same at a thousand channels as at a million: pages go by key
and counts stop at a bound.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import LiteralString

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
}
#: Channels that something else tells of: each found once, by id, and then looked up.
_TOLD = {
    "due_by": at_risk.CHANNELS_DUE_BY,
    "alarmed": "SELECT a.channel_id FROM alarms AS a WHERE a.cleared_at IS NULL",
}
_ONLY_TOLD = """
    JOIN (SELECT DISTINCT told.channel_id FROM ({told}) AS told
          WHERE told.channel_id > %(after)s ORDER BY told.channel_id OFFSET 0) AS {name}
    ON {name}.channel_id = c.id
"""
_OF_STATE = """
    (SELECT c.state, c.id FROM channels AS c
     WHERE c.state = '{state}' ORDER BY c.id DESC LIMIT {limit})
"""
#: State by state, each by its name: that is a range of an index, from the newest on. For several
#: states at once, or for one that it is told later, Postgres reads the channels of every state.
_BY_STATE = " UNION ALL ".join(_OF_STATE.format(state=s, limit="%(most)s") for s in State)
_IN_COURT = " UNION ALL ".join(_OF_STATE.format(state=s, limit="%(limit)s") for s in IN_COURT)
LATEST_IN_COURT = f"""
    SELECT newest.id FROM ({_IN_COURT}) AS newest ORDER BY newest.id DESC LIMIT %(limit)s
"""
COUNT_STATES = f"SELECT state, count(*) FROM ({_BY_STATE}) AS counted GROUP BY state"


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
    facts = {**asdict(wanted), "after": after, "limit": limit, **at_risk.REASONS}
    with conn.cursor(row_factory=args_row(channel_row)) as cursor:
        return cursor.execute(query_for(wanted), facts).fetchall()


def query_for(wanted: Wanted) -> LiteralString:
    """What Postgres is asked for these channels."""
    asked = [name for name, value in asdict(wanted).items() if value is not None]
    told = [_ONLY_TOLD.format(told=_TOLD[name], name=name) for name in asked if name in _TOLD]
    conditions = [_CONDITIONS[name] for name in asked if name in _CONDITIONS]
    where = " AND ".join(["c.id > %(after)s", *conditions])
    return f"{SELECT_CHANNELS} {' '.join(told)} WHERE {where} ORDER BY c.id LIMIT %(limit)s"


def latest_in_court(conn: Connection, limit: int) -> list[int]:
    """Ids of channels that are closing or not fully resolved, the newest channels first."""
    rows = conn.execute(LATEST_IN_COURT, {"limit": limit})
    return [int(row[0]) for row in rows]


def count_states(conn: Connection, most: int) -> dict[State, int]:
    """How many channels stand in each state, counted no further than `most`."""
    counts = dict.fromkeys(State, 0)
    for state, count in conn.execute(COUNT_STATES, {"most": most}):
        counts[State(state)] = int(count)
    return counts
