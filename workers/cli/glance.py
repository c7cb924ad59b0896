"""One glance at the whole court: what `contractcourt watch` shows, as facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import redis

from contractcourt.case import State
from storage import alarms, blocks, census, channels, deadlines, lease
from storage.alarms import Alarm
from storage.channels import ChannelRow
from storage.database import Connection, Database
from storage.deadlines import Deadline
from tasks import backlog
from tasks.backlog import Backlog
from tasks.reserve import RESERVE

#: From the decision to close until nothing is left to win or lose.
IN_COURT = tuple(state for state in State if state not in (State.DEFAULT, State.FULLY_RESOLVED))
_MOST_DEADLINES = 500


@dataclass(frozen=True, slots=True)
class Due:
    """All that falls due at one height. `blocks_left` is None before a watcher has a height."""

    height: int
    blocks_left: int | None
    channels: int
    value_at_risk_sat: int


@dataclass(frozen=True, slots=True)
class Moving:
    """A channel in court. `waiting` docket entries are not yet applied to it."""

    channel_point: str
    node: str
    state: State
    close_kind: str | None
    closed_height: int | None
    applied_seq: int
    waiting: int
    next_height: int | None
    value_at_risk_sat: int


@dataclass(frozen=True, slots=True)
class Raised:
    """An open alarm."""

    id: int
    about: str
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Glance:
    """The court as it stood. `queues` is None when Redis does not answer."""

    height: int | None
    watcher_leads: bool
    epoch: int | None
    states: dict[str, int]
    unapplied: int
    oldest_unapplied_seconds: float
    outbox: dict[str, int]
    queues: dict[str, int] | None
    in_hand: int
    alarms_open: int
    alarms: list[Raised]
    deadlines: list[Due]
    channels: list[Moving]

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def take(db: Database, redis_url: str | None, *, channels_shown: int, alarms_shown: int) -> Glance:
    """Look once, in one transaction. Raises psycopg.Error when Postgres is away."""
    waiting = _backlog(redis_url)
    with db.transaction() as conn:
        counted = census.count(conn, RESERVE)
        leader = lease.read(conn, lease.CHAIN_WATCHER)
        cursor = blocks.cursor(conn)
        height = None if cursor is None else cursor.height
        due = deadlines.list_deadlines(conn, _MOST_DEADLINES)
        return Glance(
            height=height,
            watcher_leads=leader is not None and leader.live,
            epoch=None if leader is None else leader.epoch,
            states={state.value: counted.channels.get(state.value, 0) for state in State},
            unapplied=counted.unapplied,
            oldest_unapplied_seconds=counted.oldest_unapplied_seconds,
            outbox=counted.outbox,
            queues=None if waiting is None else waiting.queues,
            in_hand=0 if waiting is None else waiting.in_hand,
            alarms_open=sum(counted.alarms.values()),
            alarms=[_raised(one) for one in alarms.list_open(conn, limit=alarms_shown)],
            deadlines=_by_height(due, height),
            channels=_in_court(conn, due, channels_shown),
        )


def _backlog(redis_url: str | None) -> Backlog | None:
    if redis_url is None:
        return None
    try:
        return backlog.measure(redis_url)
    except redis.RedisError:
        return None


def _raised(alarm: Alarm) -> Raised:
    about = str(alarm.channel_point or alarm.node or "the court")
    return Raised(alarm.id, about, alarm.kind, alarm.message)


def _by_height(due: Sequence[Deadline], height: int | None) -> list[Due]:
    at: dict[int, list[Deadline]] = {}
    for one in due:
        at.setdefault(one.height, []).append(one)
    return [
        Due(
            height=when,
            blocks_left=None if height is None else when - height,
            channels=len({one.channel_point for one in those}),
            value_at_risk_sat=sum(one.value_at_risk_sat for one in those),
        )
        for when, those in sorted(at.items())
    ]


def _in_court(conn: Connection, due: Sequence[Deadline], limit: int) -> list[Moving]:
    """Those with the nearest deadline first, then in the order they were opened."""
    rows = [
        row for state in IN_COURT for row in channels.list_channels(conn, state=state, limit=limit)
    ]
    of_channel: dict[str, list[Deadline]] = {}
    for one in due:
        of_channel.setdefault(str(one.channel_point), []).append(one)
    moving = [_moving(row, of_channel.get(str(row.channel_point), [])) for row in rows]
    moving.sort(key=lambda one: (one.next_height is None, one.next_height or 0))
    return moving[:limit]


def _moving(row: ChannelRow, due: Sequence[Deadline]) -> Moving:
    return Moving(
        channel_point=str(row.channel_point),
        node=row.node,
        state=row.state,
        close_kind=row.close_kind,
        closed_height=row.closed_height,
        applied_seq=row.applied_seq,
        waiting=row.last_seq - row.applied_seq,
        next_height=min((one.height for one in due), default=None),
        value_at_risk_sat=sum(one.value_at_risk_sat for one in due),
    )
