"""Redis or Postgres is away, or silent, for longer than any patience: nothing is lost, nobody ends.

With `make outages` each lasts ten minutes (users_ask C5, P5), with the other tests some seconds. So
long they refuse in any case: who answers with a refusal is asked again as soon as who does not.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import LiteralString

import psycopg
import pytest
import redis

from storage import blocks
from tests.faults.closing_storm import ClosingStorm
from tests.faults.parts import PartedCourt, parted_court
from tests.summary import Summary

_A_WHILE = 8.0
_SECONDS = float(os.environ.get("OUTAGE_SECONDS", _A_WHILE))
_CHANNELS = 12
_BLOCKS = 6

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900 + int(_SECONDS))]


@dataclass(frozen=True, slots=True)
class Outage:
    """How a server goes away, and how it comes back."""

    begin: Callable[[PartedCourt, str], None]
    end: Callable[[PartedCourt, str], None]


def _come_back(court: PartedCourt, server: str) -> None:
    court.start_again(server)
    court.wait_ready(server)


OUTAGES = {
    "down": Outage(PartedCourt.keep_down, _come_back),
    "silent": Outage(
        lambda court, server: court.proxies[server].freeze(),
        lambda court, server: court.proxies[server].thaw(),
    ),
}


def _tell_redis(*words: str) -> Callable[[PartedCourt, str], None]:
    def tell(court: PartedCourt, server: str) -> None:
        with redis.Redis.from_url(court.client.endpoints[server]) as broker:
            broker.execute_command(*words)

    return tell


def _tell_postgres(*statements: LiteralString) -> Callable[[PartedCourt, str], None]:
    def tell(court: PartedCourt, server: str) -> None:
        with psycopg.connect(court.client.endpoints[server], autocommit=True) as conn:
            for statement in statements:
                conn.execute(statement)

    return tell


#: As Postgres says it when it can't make a file larger.
_NO_ROOM = """
    CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE DISK_FULL; END $$;
    DO $$ DECLARE full_one text; BEGIN
        FOR full_one IN SELECT unnest('{blocks,docket,leases,outbox,sweep_rounds}'::text[]) LOOP
            EXECUTE format('CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON %I'
                           ' EXECUTE FUNCTION no_room()', full_one);
        END LOOP;
    END $$
"""
_MOST_OF_EACH = """
    DO $$ DECLARE login name; BEGIN
        FOR login IN SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper LOOP
            EXECUTE format('ALTER ROLE %I CONNECTION LIMIT {}', login);
        END LOOP;
    END $$
"""
_END_ALL = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_RELOAD = "SELECT pg_reload_conf()"
REFUSALS = {
    ("redis", "a replica"): Outage(
        _tell_redis("REPLICAOF", "127.0.0.1", "1"), _tell_redis("REPLICAOF", "NO", "ONE")
    ),
    ("redis", "full"): Outage(
        _tell_redis("CONFIG", "SET", "maxmemory", "1"),
        _tell_redis("CONFIG", "SET", "maxmemory", "0"),
    ),
    ("postgres", "read-only"): Outage(
        _tell_postgres("ALTER SYSTEM SET default_transaction_read_only = on", _RELOAD),
        _tell_postgres("ALTER SYSTEM RESET default_transaction_read_only", _RELOAD),
    ),
    ("postgres", "full"): Outage(
        _tell_postgres(_NO_ROOM), _tell_postgres("DROP FUNCTION no_room CASCADE")
    ),
    ("postgres", "out of connections"): Outage(
        _tell_postgres(_MOST_OF_EACH.format(0), _END_ALL), _tell_postgres(_MOST_OF_EACH.format(-1))
    ),
}


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PartedCourt]:
    with parted_court(tmp_path_factory.mktemp("outages")) as running:
        yield running


@pytest.mark.parametrize("server", ["redis", "postgres"])
@pytest.mark.parametrize("kind", OUTAGES)
def test_c5_p5_a_long_outage_costs_only_time(
    kind: str, server: str, court: PartedCourt, summary: Summary
) -> None:
    took = _outlast(court, server, OUTAGES[kind], f"{server}-{kind}", _SECONDS)
    summary(
        f"{server} {kind} for {_SECONDS:.0f} s while {_CHANNELS} channels closed: "
        f"all was caught up {took:.0f} s after it came back"
    )


@pytest.mark.parametrize(("server", "kind"), REFUSALS)
def test_c5_p5_who_answers_and_refuses_costs_only_time(
    server: str, kind: str, court: PartedCourt
) -> None:
    name = f"{server}-{kind}".replace(" ", "-")
    _outlast(court, server, REFUSALS[server, kind], name, _A_WHILE)


def _outlast(court: PartedCourt, server: str, outage: Outage, name: str, seconds: float) -> float:
    """Channels close and blocks come meanwhile; every process is there afterwards, the same one.

    The seconds that it took to catch up.
    """
    court.fallen.clear()
    storm = ClosingStorm(court, name, _CHANNELS)
    outage.begin(court, server)
    storm.break_out()
    for _ in range(_BLOCKS):
        _pass(court, seconds / _BLOCKS)
        court.client.mine(1)
    if server == "redis":
        court.client.wait_until(lambda: _watcher_is_at_tip(court), "the watcher to go on")
    outage.end(court, server)
    back_at = time.monotonic()
    court.client.wait_until(
        lambda: _watcher_is_at_tip(court) and court.client.is_quiet(), "the court to catch up"
    )
    took = time.monotonic() - back_at
    assert +court.fallen == Counter()
    [end] = storm.pass_by()
    assert (end.state, end.close_kind, end.commitments) == ("FULLY_RESOLVED", "remote", 0)
    assert end.told == {"channel.closing", "channel.closed", "channel.fully_resolved"}
    return took


def _pass(court: PartedCourt, seconds: float) -> None:
    """Time; who ended by itself is started again, and counted."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        court.revive()
        time.sleep(0.1)


def _watcher_is_at_tip(court: PartedCourt) -> bool:
    with court.client.db.transaction() as conn:
        cursor = blocks.cursor(conn)
    return cursor is not None and cursor.height == court.client.height()
