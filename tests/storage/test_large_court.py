"""What is read for a page, a scrape or a command is what it shows, however large the court is."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import LiteralString

import psycopg
import pytest

from bench import large_court
from bench.large_court import TIP, YOUNG
from contractcourt.case import State
from contractcourt.effects import CloseKind
from contractcourt.units import BlockHeight
from storage import (
    alarms,
    at_risk,
    board,
    census,
    channels,
    dead_letters,
    deadlines,
    fee_reserve,
    forgetting,
    outbox,
    set_back,
    sight,
    sweep_inputs,
)
from storage.board import Wanted
from storage.database import ROW_BY_ROW, Database
from tasks.reserve import RESERVE
from tests.conftest import url_of
from tests.storage.plans import plan, rows_read

_CHANNELS = 6_000
_SHOWN = 3
#: For each row that is shown: one of each table that it is looked up in, in each of six states.
_MOST_READ = 100
_PAGE = {"after": 0, "limit": _SHOWN, "most": _SHOWN, **at_risk.REASONS}


@pytest.fixture(scope="module")
def court(postgres_url: str, pooler_url: str, template_database: str) -> Iterator[Database]:
    """6,000 channels: 1,200 resolved, 120 in court, and six of a node that has closed none."""
    name = f"large_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
        with closing(Database(url_of(pooler_url, name))) as db:
            large_court.fill(db, large_court.begin(db), 0, _CHANNELS)
            yield db
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def chosen(*, after: int = 0, **wanted: object) -> tuple[str, Mapping[str, object]]:
    return board.query_for(Wanted(**wanted)), {**_PAGE, **wanted, "after": after}  # type: ignore[arg-type]


_MENDED = {"longest": 3_600, "limit": set_back.PAGE}
_STALE = {**_PAGE, "older_than_seconds": 0, "kinds": list(outbox.ALL_KINDS)}


@pytest.mark.parametrize(
    ("query", "facts"),
    [
        pytest.param(*chosen(), id="all channels"),
        pytest.param(*chosen(after=_CHANNELS - 100), id="the last channels"),
        pytest.param(*chosen(state="WAITING_FULL_RESOLUTION"), id="of a state"),
        pytest.param(*chosen(node=YOUNG), id="of a small node"),
        pytest.param(*chosen(node=YOUNG, state="FULLY_RESOLVED"), id="of a node that has none"),
        pytest.param(*chosen(node=YOUNG, close_kind="local"), id="closes of a node that has none"),
        pytest.param(*chosen(alarmed=True), id="with an alarm"),
        pytest.param(
            channels.LIST_CHANNELS, {**_PAGE, "node": YOUNG, "state": "FULLY_RESOLVED"}, id="API"
        ),
        pytest.param(board.LATEST_IN_COURT, _PAGE, id="the newest in court"),
        pytest.param(sight.VERSIONS_IN_COURT, _PAGE, id="what an open page listens to"),
        pytest.param(board.COUNT_STATES, _PAGE, id="channels by state"),
        pytest.param(alarms.NEWEST_OPEN, {}, id="the newest alarm"),
        pytest.param(alarms.LIST_OPEN, {**_PAGE, "channel_id": None}, id="alarms"),
        pytest.param(
            dead_letters.LIST, {**_PAGE, "endpoint": None, "with_replayed": False}, id="letters"
        ),
        pytest.param(deadlines.NEAREST, {**_PAGE, "to_be_mined": "sweep"}, id="deadlines"),
        pytest.param(at_risk.TOTAL, _PAGE, id="at risk"),
        pytest.param(at_risk.MOST_PRESSING, _PAGE, id="what presses most"),
        pytest.param(sweep_inputs.QUARANTINED, _PAGE, id="in quarantine"),
        pytest.param(outbox.STALE, _STALE, id="not carried out"),
    ],
)
def test_l23_what_is_read_for_a_page_is_what_it_shows(
    court: Database, query: str, facts: Mapping[str, object]
) -> None:
    with court.looking() as conn:
        assert rows_read(conn, query, facts) <= _MOST_READ


@pytest.mark.parametrize(
    ("crowd", "query", "facts"),
    [
        pytest.param(
            "UPDATE channels SET node = 'young' WHERE state = 'DEFAULT'",
            *chosen(node=YOUNG, state="FULLY_RESOLVED"),
            id="channels of the node, and of the state",
        ),
        pytest.param(
            "UPDATE alarms SET cleared_at = clock_timestamp() WHERE id > ("
            "SELECT min(id) FROM alarms WHERE cleared_at IS NULL)",
            alarms.NEWEST_OPEN,
            {},
            id="alarms that are over",
        ),
        pytest.param(
            "UPDATE dead_letters SET replayed_at = clock_timestamp() WHERE id < ("
            "SELECT max(id) FROM dead_letters WHERE replayed_at IS NULL)",
            dead_letters.LIST,
            {**_PAGE, "endpoint": None, "with_replayed": False},
            id="letters that were sent again",
        ),
        pytest.param(
            "UPDATE outbox SET sent_at = NULL, due_at = '2020-01-01' WHERE endpoint IS NOT NULL",
            outbox.STALE,
            _STALE,
            id="letters to who is silent",
        ),
    ],
)
def test_l23_what_is_sought_is_found_behind_a_crowd_of_others(
    court: Database, crowd: LiteralString, query: str, facts: Mapping[str, object]
) -> None:
    with court.transaction() as conn:
        conn.execute(ROW_BY_ROW)
        assert conn.execute(crowd).rowcount > 30
        assert rows_read(conn, query, facts) <= 10
        conn.rollback()


def test_l23_what_a_clock_left_waiting_is_found_behind_the_letters_of_who_is_silent(
    court: Database,
) -> None:
    nodes = len(large_court.NODES) + 3
    with court.transaction() as conn:
        crowd = "UPDATE outbox SET sent_at = NULL, due_at = '2020-01-01' WHERE endpoint IS NOT NULL"
        assert conn.execute(crowd).rowcount > 10 * nodes
        assert rows_read(conn, set_back.DUE_TOO_LATE, _MENDED) <= nodes
        conn.rollback()


def test_l23_what_presses_is_found_without_what_is_only_due(court: Database) -> None:
    for query in (at_risk.TOTAL, at_risk.MOST_PRESSING, at_risk.BY_HEIGHT, census.AT_RISK):
        facts = {**_PAGE, "upto": TIP + 150, "horizons": [0, 144]}
        with court.looking() as conn:
            found = plan(conn, query, facts)
        assert "using deadlines_pressing on deadlines d" in found, found


def test_l23_fee_wallets_are_looked_at_without_their_nodes_channels(court: Database) -> None:
    nodes = len(large_court.NODES) + 3
    with court.looking() as conn:
        read = rows_read(conn, fee_reserve.LACKING, RESERVE.facts)
    assert read <= nodes * (1 + 2 * RESERVE.most_channels)


def test_l23_sweeps_that_nobody_holds_are_looked_for_in_court_alone(court: Database) -> None:
    in_court = _CHANNELS * 2 // 100
    with court.looking() as conn:
        assert rows_read(conn, sweep_inputs.FORGOTTEN, {"limit": 1}) <= in_court * 8


def test_l23_what_punished_a_channel_is_looked_for_once(court: Database) -> None:
    up_to = BlockHeight(TIP - 4_320)
    forget = forgetting.revoked_states(up_to)
    while court.run(forget):
        pass
    with court.transaction() as conn:
        facts = {"height": up_to, "limit": 10}
        for statement in (forgetting.REVOKED_STATES, forgetting.FORGOTTEN):
            assert rows_read(conn, statement, facts) == 0


def test_what_is_chosen_in_several_ways_holds_in_each(court: Database) -> None:
    with court.looking() as conn:
        told = board.choose(conn, Wanted(alarmed=True, due_by=BlockHeight(TIP + 150)), limit=999)
        alarmed = {row.id for row in board.choose(conn, Wanted(alarmed=True), limit=999)}
        due = {
            row.id for row in board.choose(conn, Wanted(due_by=BlockHeight(TIP + 150)), limit=9999)
        }
        kind = board.choose(conn, Wanted(state=State.FULLY_RESOLVED, close_kind=CloseKind.BREACH))
    assert told
    assert [row.id for row in told] == sorted(alarmed & due)
    assert {row.close_kind for row in kind} == {CloseKind.BREACH}
