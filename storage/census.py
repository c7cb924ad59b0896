"""The census: how many of everything the court has, from one snapshot, for Prometheus."""

from __future__ import annotations

from dataclasses import dataclass

from storage.database import Connection

CENSUS = """
    SELECT 'channels', state, count(*)::float8 FROM channels GROUP BY state
    UNION ALL
    SELECT 'broadcasts', coalesce(last_outcome, 'none'), count(*)
    FROM broadcasts WHERE state = 'open' GROUP BY 2
    UNION ALL
    SELECT 'alarms', kind, count(*) FROM alarms WHERE cleared_at IS NULL GROUP BY kind
    UNION ALL
    SELECT 'outbox', kind, count(*) FROM outbox WHERE sent_at IS NULL GROUP BY kind
    UNION ALL
    SELECT 'unapplied', 'count', count(*) FROM unapplied
    UNION ALL
    SELECT 'unapplied', 'oldest',
           coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)
    FROM unapplied
    UNION ALL
    SELECT 'cursor', 'height', height FROM chain_cursor
"""


@dataclass(frozen=True, slots=True)
class Census:
    """Counts by their natural label. `broadcasts` are the open ones by last outcome.

    `watcher_height` is None until a watcher has set the chain cursor.
    """

    channels: dict[str, int]
    broadcasts: dict[str, int]
    alarms: dict[str, int]
    outbox: dict[str, int]
    unapplied: int
    oldest_unapplied_seconds: float
    watcher_height: int | None


def count(conn: Connection) -> Census:
    """Count all in one statement."""
    found: dict[str, dict[str, float]] = {}
    for family, label, value in conn.execute(CENSUS):
        found.setdefault(family, {})[label] = value
    unapplied = found["unapplied"]
    height = found.get("cursor", {}).get("height")
    return Census(
        channels=_whole(found.get("channels", {})),
        broadcasts=_whole(found.get("broadcasts", {})),
        alarms=_whole(found.get("alarms", {})),
        outbox=_whole(found.get("outbox", {})),
        unapplied=int(unapplied["count"]),
        oldest_unapplied_seconds=unapplied["oldest"],
        watcher_height=None if height is None else int(height),
    )


def _whole(counts: dict[str, float]) -> dict[str, int]:
    return {label: int(value) for label, value in counts.items()}
