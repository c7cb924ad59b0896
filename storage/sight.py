"""What an open page shows, in one glance cheap enough to be taken every second.

Channels are asked for by name, so the cost is that of what is shown and not of what there is; no
index serves this alone, and nothing is written for it when a case moves.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from contractcourt.bitcoin.outpoint import OutPoint
from storage.board import IN_COURT, LATEST_IN_COURT
from storage.database import Connection

#: So many of the channels in court are looked at, the newest.
MOST_IN_COURT = 200

BOARD = """
    SELECT (SELECT height FROM chain_cursor),
           coalesce((SELECT step FROM chain_cursor), 0),
           (SELECT coalesce(md5(string_agg(a.id::text || a.message, ',' ORDER BY a.id)), '')
            FROM (SELECT id, message FROM alarms WHERE cleared_at IS NULL
                  ORDER BY id LIMIT 1000) AS a),
           (SELECT coalesce(md5(string_agg(d.id::text || d.died_at::text, ',' ORDER BY d.id)), '')
            FROM (SELECT id, died_at FROM dead_letters WHERE replayed_at IS NULL
                  ORDER BY endpoint, id LIMIT 1000) AS d)
"""
VERSIONS = """
    SELECT c.id, c.channel_point, c.state, k.version, c.state = ANY(%(states)s)
    FROM channels AS c JOIN cases AS k ON k.channel_id = c.id
    WHERE c.id = ANY(%(channel_ids)s::bigint[])
"""
VERSIONS_IN_COURT = f"""
    SELECT c.id, c.channel_point, c.state, k.version, true
    FROM ({LATEST_IN_COURT}) AS latest
    JOIN channels AS c ON c.id = latest.id JOIN cases AS k ON k.channel_id = c.id
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """One case as it stood, see `ChannelRow`. `version` grows whenever it is stored."""

    channel_point: OutPoint
    state: str
    version: int
    in_court: bool


@dataclass(frozen=True, slots=True)
class Sight:
    """The chain, open alarms and dead letters as digests, and the cases by channel id."""

    height: int | None
    step: int
    alarms: str
    dead_letters: str
    cases: dict[int, Seen]


def look(conn: Connection, channel_ids: Collection[int]) -> Sight:
    """The chain, what waits for an operator, these channels and the newest ones in court."""
    height, step, alarms, letters = conn.execute(BOARD).fetchall()[0]
    facts = {
        "channel_ids": list(channel_ids),
        "states": list(IN_COURT),
        "limit": MOST_IN_COURT,
    }
    cases: dict[int, Seen] = {}
    for query in (VERSIONS, VERSIONS_IN_COURT):
        for channel_id, point, state, version, in_court in conn.execute(query, facts):
            cases[channel_id] = Seen(OutPoint(point), state, version, in_court)
    return Sight(height, step, alarms, letters, cases)
