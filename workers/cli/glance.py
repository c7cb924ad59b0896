"""One glance at the whole court: what `contractcourt watch` shows, as facts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import redis

from contractcourt.case import State
from contractcourt.units import BlockHeight
from storage import alarms, at_risk, blocks, board, census, channels, lease
from storage.alarms import Alarm
from storage.at_risk import HeightSum, Stake
from storage.channels import ChannelRow
from storage.database import Connection, Database
from tasks import backlog
from tasks.backlog import Backlog
from tasks.reserve import RESERVE

#: So far ahead deadlines are looked for: four weeks.
_AHEAD = 4032


@dataclass(frozen=True, slots=True)
class Due:
    """All that falls on one height. Only what is `pressing` is lost by waiting."""

    height: int
    blocks_left: int
    pressing: bool
    count: int
    value_sat: int


@dataclass(frozen=True, slots=True)
class Moving:
    """A channel in court. So many docket entries are not yet applied to it.

    `at_risk_height` is the nearest height by which waiting loses some of `at_risk_sat`.
    """

    channel_point: str
    node: str
    state: str
    close_kind: str | None
    closed_height: int | None
    applied_seq: int
    not_applied: int
    at_risk_height: int | None
    at_risk_sat: int


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
    with db.looking() as conn:
        counted = census.count(conn, RESERVE)
        leader = lease.read(conn, lease.CHAIN_WATCHER)
        cursor = blocks.cursor(conn)
        height = None if cursor is None else cursor.height
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
            deadlines=[] if height is None else _due(conn, height),
            channels=_in_court(conn, channels_shown),
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


def _due(conn: Connection, height: int) -> list[Due]:
    sums = at_risk.by_height(conn, BlockHeight(height + _AHEAD))
    return [_one_due(one, height) for one in sums]


def _one_due(one: HeightSum, height: int) -> Due:
    return Due(one.height, one.height - height, one.pressing, one.count, one.value_sat)


def _in_court(conn: Connection, limit: int) -> list[Moving]:
    """The newest, those first in which waiting loses money soonest."""
    ids = board.latest_in_court(conn, limit)
    stakes = at_risk.of_channels(conn, ids)
    moving = [_moving(row, stakes.get(row.id)) for row in channels.by_ids(conn, ids)]
    return sorted(moving, key=lambda one: (one.at_risk_height is None, one.at_risk_height or 0))


def _moving(row: ChannelRow, stake: Stake | None) -> Moving:
    return Moving(
        channel_point=str(row.channel_point),
        node=row.node,
        state=row.state,
        close_kind=row.close_kind,
        closed_height=row.closed_height,
        applied_seq=row.applied_seq,
        not_applied=row.last_seq - row.applied_seq,
        at_risk_height=None if stake is None else stake.height,
        at_risk_sat=0 if stake is None else stake.value_sat,
    )
