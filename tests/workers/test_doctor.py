"""The doctor: one thing broken at a time, on real parts, and the finding that names it."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from psycopg import sql
from psycopg.conninfo import make_conninfo

from chain.devnet.process import DevnetProcess
from contractcourt.units import BlockHash, BlockHeight
from storage import blocks, roles
from storage.database import Database
from storage.errors import OldPostgres
from storage.migrate import OLDEST_POSTGRES, migrate
from storage.roles import Role
from tasks.queues import QUEUES
from tasks.settings import Settings
from tests.conftest import free_port
from tests.tasks.test_urgent_lane import NOWHERE, worker
from tests.workers.gateway.serving import serving
from workers import doctor
from workers.doctor import dependencies, processes
from workers.doctor.finding import Finding
from workers.gateway.access import Access
from workers.gateway.app import create_app, metrics_of
from workers.gateway.court import Court


def settings(**given: Any) -> Settings:
    return Settings(**given)


@pytest.fixture
def role_url(database_url: str) -> Iterator[Callable[[Role], str]]:
    """Postgres, as a user who is a member of one role."""
    name, password = f"test.{uuid.uuid4().hex}", "a password of the tests"
    with psycopg.connect(database_url, autocommit=True) as owner:

        def of(role: Role) -> str:
            roles.put_login(owner, role, name, password)
            return make_conninfo(database_url, user=name, password=password)

        yield of
        owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def wrong_words(findings: list[Finding]) -> str:
    """What is wrong, in one text; empty when nothing is."""
    return " | ".join(f"{f.words}; {f.advice}" for f in findings if f.is_wrong)


def test_what_is_not_set_is_named() -> None:
    findings = doctor.examine(settings())
    assert {f.part for f in findings if f.is_wrong} == {"postgres", "redis", "bitcoind", "signer"}
    for variable in ("DATABASE_URL", "REDIS_URL", "BITCOIND_URL", "CONTRACTCOURT_SIGNER_URL"):
        assert f"{variable} is not set" in wrong_words(findings)


def test_a_sound_postgres(database_url: str) -> None:
    [finding] = dependencies.check_postgres(settings(database_url=database_url))
    assert not finding.is_wrong
    assert "schema 0" in finding.words


def test_a_postgres_that_the_schema_cannot_stand_in(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 14 was said to be fine; `migrate` ended there with an error of syntax."""
    assert OLDEST_POSTGRES == 15  # NULLS NOT DISTINCT
    monkeypatch.setattr("storage.migrate.OLDEST_POSTGRES", 99)
    found = wrong_words(dependencies.check_postgres(settings(database_url=database_url)))
    assert found.endswith("is too old: use 99 or later; ")
    with pytest.raises(OldPostgres, match="use 99 or later"):
        migrate(database_url)


def test_postgres_that_does_not_listen() -> None:
    url = f"postgresql://court:hunter2@127.0.0.1:{free_port()}/court"
    found = wrong_words(dependencies.check_postgres(settings(database_url=url)))
    assert "does not answer, or does not let us in" in found
    assert "hunter2" not in found


def test_postgres_that_was_never_migrated(empty_database_url: str) -> None:
    found = wrong_words(dependencies.check_postgres(settings(database_url=empty_database_url)))
    assert "its schema is at nothing" in found
    assert "run `contractcourt migrate`" in found


def test_postgres_that_is_read_only(empty_database_url: str) -> None:
    migrate(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute(
            sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(
                sql.Identifier(conn.info.dbname)
            )
        )
    found = wrong_words(dependencies.check_postgres(settings(database_url=empty_database_url)))
    assert "is read-only" in found


@pytest.fixture
def keeping_redis(redis_url: str) -> Iterator[redis.Redis]:
    """The session's Redis, with its policy given back."""
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    before = client.config_get("maxmemory-policy")["maxmemory-policy"]
    assert before is not None
    yield client
    client.config_set("maxmemory-policy", before)
    client.close()


def test_redis_must_not_evict(keeping_redis: redis.Redis, redis_url: str) -> None:
    keeping_redis.config_set("maxmemory-policy", "noeviction")
    assert wrong_words(dependencies.check_redis(settings(redis_url=redis_url))) == ""
    keeping_redis.config_set("maxmemory-policy", "allkeys-lru")
    found = wrong_words(dependencies.check_redis(settings(redis_url=redis_url)))
    assert "allkeys-lru" in found


def test_redis_that_is_a_replica(keeping_redis: redis.Redis, redis_url: str) -> None:
    keeping_redis.replicaof("127.0.0.1", "1")
    try:
        found = wrong_words(dependencies.check_redis(settings(redis_url=redis_url)))
    finally:
        keeping_redis.replicaof("no", "one")
    assert "takes no writes" in found
    assert "read only replica" in found


def test_redis_that_is_full(keeping_redis: redis.Redis, redis_url: str) -> None:
    keeping_redis.config_set("maxmemory", 1)
    try:
        found = wrong_words(dependencies.check_redis(settings(redis_url=redis_url)))
    finally:
        keeping_redis.config_set("maxmemory", 0)
    assert "takes no writes" in found
    assert "maxmemory" in found


def test_redis_that_is_not_there() -> None:
    found = dependencies.check_redis(settings(redis_url=f"redis://127.0.0.1:{free_port()}/0"))
    assert "does not answer, or does not let us in" in wrong_words(found)


def test_a_sound_bitcoin_node(devnet: DevnetProcess) -> None:
    assert wrong_words(dependencies.check_bitcoin_node(settings(bitcoind_url=devnet.url))) == ""


def test_a_bitcoin_node_of_another_network(devnet: DevnetProcess) -> None:
    found = dependencies.check_bitcoin_node(settings(bitcoind_url=devnet.url, network="main"))
    assert "serves regtest, this court main" in wrong_words(found)


def test_a_bitcoin_node_that_is_behind_the_court(
    devnet: DevnetProcess, db: Database, database_url: str
) -> None:
    with db.transaction() as conn:
        blocks.init_cursor(conn, BlockHeight(100_000), BlockHash(bytes(32)))
    told = settings(bitcoind_url=devnet.url, database_url=database_url)
    assert "the court at 100000" in wrong_words(dependencies.check_bitcoin_node(told))


def test_a_bitcoin_node_that_refuses_our_password(devnet: DevnetProcess) -> None:
    url = f"http://court:hunter2@127.0.0.1:{devnet.port}"
    found = wrong_words(dependencies.check_bitcoin_node(settings(bitcoind_url=url)))
    assert "password" in found
    assert "hunter2" not in found


def test_a_bitcoin_node_that_is_away() -> None:
    url = f"http://court:hunter2@127.0.0.1:{free_port()}"
    found = wrong_words(dependencies.check_bitcoin_node(settings(bitcoind_url=url)))
    assert "does not answer" in found
    assert "is BITCOIND_URL right?" in found
    assert "hunter2" not in found


def test_a_signer_that_is_away() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    told = settings(signer_url=url, signer_token="t" * 32)
    assert "does not answer" in wrong_words(processes.check_signer(told))
    without = wrong_words(processes.check_signer(settings(signer_url=url)))
    assert "CONTRACTCOURT_SIGNER_TOKEN is not set" in without


def test_another_program_where_the_signer_should_be(db: Database) -> None:
    court = Court(db=db, access=Access(), metrics=metrics_of(db), wake=lambda _: None)
    with serving(create_app(court)) as url:
        told = settings(signer_url=url, signer_token="t" * 32)
        assert "another program answers" in wrong_words(processes.check_signer(told))


def test_a_gateway_that_is_away_or_takes_nothing(db: Database) -> None:
    away = settings(gateway_url=f"http://127.0.0.1:{free_port()}")
    assert "does not answer" in wrong_words(doctor.examine(away))
    court = Court(db=db, access=Access(), metrics=metrics_of(db), wake=lambda _: None)
    with serving(create_app(court)) as url:
        [sound] = processes.check_gateway(settings(gateway_url=url))
        assert not sound.is_wrong
        with db.transaction() as conn:
            conn.execute("UPDATE alembic_version SET version_num = '0001'")
        assert "takes no webhook" in wrong_words(processes.check_gateway(settings(gateway_url=url)))


def test_a_chain_that_nobody_watches(database_url: str) -> None:
    found = wrong_words(processes.check_watcher(settings(database_url=database_url)))
    assert "nobody looks at the chain" in found


@pytest.mark.parametrize("role", [Role.WATCHER, Role.GATEWAY, Role.WORKER, Role.READER])
def test_a_chain_that_nobody_watches_is_seen_from_every_host(
    role: Role, role_url: Callable[[Role], str]
) -> None:
    """A worker may not look who leads, and its doctor said nothing of it."""
    found = wrong_words(processes.check_watcher(settings(database_url=role_url(role))))
    assert "nobody looks at the chain" in found


def test_what_our_user_may_not_see_is_said_not_to_be_checked(
    role_url: Callable[[Role], str],
) -> None:
    findings = doctor.examine(settings(database_url=role_url(Role.SIGNER)))
    assert "could not be checked (InsufficientPrivilege: permission denied" in wrong_words(
        [finding for finding in findings if finding.part == "watcher"]
    )


def test_workers_are_asked_and_a_queue_without_one_is_named(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    told = settings(redis_url=redis_url)
    assert "none answers" in wrong_words(processes.check_workers(told))
    env = {**os.environ, **NOWHERE, "REDIS_URL": redis_url, "DATABASE_URL": database_url}
    with worker(env, tmp_path / "most", "--queues", ",".join(QUEUES[1:]), "--name", "most@%h"):
        found = wrong_words(processes.check_workers(told))
        assert "1 answer, but none of them takes from urgent;" in found
        assert "contractcourt worker --queues urgent" in found
        with worker(env, tmp_path / "urgent", "--queues", "urgent", "--name", "urgent@%h"):
            [sound] = processes.check_workers(told)
            assert (sound.is_wrong, sound.words[:8]) == (False, "2 answer")


def test_a_broker_that_is_away_or_silent_holds_up_no_doctor() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        for port in (free_port(), deaf.getsockname()[1]):
            began = time.monotonic()
            told = settings(redis_url=f"redis://127.0.0.1:{port}/0")
            assert processes.check_workers(told) == []
            assert time.monotonic() - began < 20
