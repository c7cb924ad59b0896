"""What the first page shows: is money at risk, what is before the court, and all channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contractcourt.case import State
from contractcourt.units import BlockHeight
from storage import alarms, at_risk, blocks, channels, dead_letters, nodes
from storage import board as board_table
from storage.alarms import Alarm
from storage.at_risk import Stake
from storage.board import Wanted
from storage.channels import ChannelRow
from storage.database import Connection
from workers.gateway.desk import timeline
from workers.gateway.desk.choice import Choice
from workers.gateway.desk.risk import Risk, due_by, risk_of
from workers.gateway.desk.timeline import Timeline

#: Rows of a page, and of the part that stands above it.
PAGE_ROWS = 50
_BEFORE_THE_COURT = 50
#: Counts go no further; a page says "more than".
COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Line:
    """One channel in a list: what presses in it, and how many alarms are open."""

    row: ChannelRow
    stake: Stake | None
    risk: Risk
    alarms: int


@dataclass(frozen=True, slots=True)
class Board:
    """The first page. `height` is None until a watcher has seen the chain.

    Figures are the whole court's; of more than COUNTED rows they say that there is more.
    """

    height: int | None
    counts: Mapping[State, int]
    alarms: int
    newest_alarm: Alarm | None
    dead_letters: int
    at_risk_sat: int
    at_risk_is_all: bool
    before_the_court: Sequence[Line]
    picture: Timeline
    found: Sequence[Line]
    next_after: int | None
    nodes: Sequence[str]

    @property
    def nearest(self) -> Line | None:
        """Where the nearest loss threatens."""
        pressing = [line for line in self.before_the_court if line.stake is not None]
        return pressing[0] if pressing else None

    @property
    def risk(self) -> Risk:
        """The whole court's."""
        return Risk.CALM if self.nearest is None else self.nearest.risk

    @property
    def shown(self) -> list[int]:
        """Ids of all channels on the page."""
        return sorted({line.row.id for line in (*self.before_the_court, *self.found)})


def board(conn: Connection, choice: Choice) -> Board:
    """The first page as it stands, from one transaction."""
    cursor = blocks.cursor(conn)
    height = 0 if cursor is None else int(cursor.height)
    wanted = Wanted(
        state=choice.state,
        node=choice.node,
        close_kind=choice.kind,
        due_by=None if choice.risk is None else due_by(choice.risk, height),
        alarmed=choice.alarmed or None,
    )
    rows = board_table.choose(conn, wanted, after=choice.after, limit=PAGE_ROWS + 1)
    pressing = _before_the_court(conn)
    everything = {row.id: row for row in (*pressing, *rows[:PAGE_ROWS])}
    stakes = at_risk.of_channels(conn, list(everything))
    raised = alarms.count_of_channels(conn, list(everything))
    lines = {
        row.id: _line(row, stakes.get(row.id), raised.get(row.id, 0), height)
        for row in everything.values()
    }
    at_risk_sat, at_risk_is_all = at_risk.total(conn, COUNTED)
    return Board(
        height=None if cursor is None else height,
        counts=board_table.count_states(conn, COUNTED + 1),
        alarms=alarms.count_open(conn, COUNTED + 1),
        newest_alarm=alarms.newest_open(conn),
        dead_letters=dead_letters.count_waiting(conn, COUNTED + 1),
        at_risk_sat=at_risk_sat,
        at_risk_is_all=at_risk_is_all,
        before_the_court=sorted((lines[row.id] for row in pressing), key=_most_pressing),
        picture=timeline.timeline(at_risk.by_height(conn, timeline.horizon(height)), height),
        found=[lines[row.id] for row in rows[:PAGE_ROWS]],
        next_after=rows[PAGE_ROWS - 1].id if len(rows) > PAGE_ROWS else None,
        nodes=[node.name for node in nodes.list_nodes(conn)],
    )


def _before_the_court(conn: Connection) -> list[ChannelRow]:
    """Where something presses, and the newest of what is closing."""
    ids = [stake.channel_id for stake in at_risk.most_pressing(conn, _BEFORE_THE_COURT)]
    ids += board_table.latest_in_court(conn, _BEFORE_THE_COURT)
    return channels.by_ids(conn, list(dict.fromkeys(ids))[:_BEFORE_THE_COURT])


def _line(row: ChannelRow, stake: Stake | None, raised: int, height: int) -> Line:
    risk = risk_of(None if stake is None else stake.height, height)
    return Line(row, stake, risk, raised)


def _most_pressing(line: Line) -> tuple[bool, int, int]:
    """What presses first, the nearest height first; then what has an alarm."""
    height = BlockHeight(0) if line.stake is None else line.stake.height
    return line.stake is None, height, -line.alarms
