"""Each process does in Postgres what it needs and nothing else, whatever SQL it may send."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from storage import roles
from storage.errors import RolesMissing
from storage.migrate import migrate
from storage.roles import GRANTS, Role
from tests.conftest import url_of, wait_for_postgres
from workers.embedded.ports import Ports
from workers.embedded.postgres import EmbeddedPostgres
from workers.process import Process

Session = psycopg.Connection[tuple[Any, ...]]

MIGRATE = "import sys; from storage.migrate import migrate; migrate(sys.argv[1])"
PASSWORD = "a password of the tests"
COLUMNS = """
    SELECT c.relname, c.relkind, min(a.attname)
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')
      AND NOT c.relispartition AND a.attnum > 0
    GROUP BY c.oid ORDER BY c.relname
"""
#: What each statement needs.
STATEMENTS = {
    "SELECT": "SELECT 1 FROM {table} LIMIT 0",
    "INSERT": "INSERT INTO {table} DEFAULT VALUES",
    "UPDATE": "UPDATE {table} SET {column} = DEFAULT WHERE false",
    "DELETE": "DELETE FROM {table} WHERE false",
    "TRUNCATE": "TRUNCATE {table}",
    "TRIGGERS": "ALTER TABLE {table} DISABLE TRIGGER ALL",
    "OWNERSHIP": "DROP TABLE {table}",
}
EVERY_ROLE = pytest.mark.parametrize("session", list(Role), indirect=True, ids=lambda r: r.name)


@pytest.fixture
def session(database_url: str, request: pytest.FixtureRequest) -> Iterator[Session]:
    """A session of a user who is a member of one role, and of no other."""
    name = f"test.{uuid.uuid4().hex}"
    with psycopg.connect(database_url, autocommit=True) as owner:
        roles.put_login(owner, request.param, name, PASSWORD)
        with psycopg.connect(database_url, user=name, password=PASSWORD, autocommit=True) as conn:
            yield conn
        owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def of(*who: Role) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("session", who, indirect=True, ids=lambda role: role.name)


def refused(session: Session, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute(statement.encode())


def test_every_table_is_somebodys(database_url: str) -> None:
    """A new table is named in storage/roles.py, or no process could use it."""
    with psycopg.connect(database_url) as owner:
        tables = {row[0] for row in owner.execute(COLUMNS)} - {"alembic_version"}
    assert tables == {table for grants in GRANTS.values() for table in grants}


@EVERY_ROLE
def test_whatever_is_not_granted_is_refused(
    session: Session, request: pytest.FixtureRequest
) -> None:
    granted = {"alembic_version": "SELECT", **GRANTS[request.node.callspec.params["session"]]}
    for table, kind, column in session.execute(COLUMNS).fetchall():
        names = {"table": sql.Identifier(table), "column": sql.Identifier(column)}
        words = {word.partition("(")[0] for word in granted.get(table, "").split()}
        for needed, statement in STATEMENTS.items():
            if needed in words or (kind == "v" and needed != "SELECT"):
                continue
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(sql.SQL(statement).format(**names))


@of(Role.WATCHER, Role.GATEWAY, Role.WORKER, Role.READER)
def test_nobody_but_the_signer_sees_the_vault(session: Session) -> None:
    for table in ("sealed_secrets", "signed_commitments"):
        refused(session, f"SELECT * FROM {table}")
        refused(session, f"DELETE FROM {table}")
    refused(session, "SET ROLE contractcourt_signer")


@of(Role.WATCHER, Role.SIGNER, Role.READER)
def test_nobody_else_sees_the_nodes_webhook_secrets(session: Session) -> None:
    refused(session, "SELECT * FROM node_secrets")


@of(Role.WATCHER, Role.SIGNER, Role.READER)
def test_nobody_else_sees_preimages_that_wait(session: Session) -> None:
    refused(session, "SELECT * FROM told_preimages")


@EVERY_ROLE
def test_nobody_rewrites_a_docket(session: Session) -> None:
    refused(session, "UPDATE docket SET payload = ''")
    refused(session, "DELETE FROM docket")
    refused(session, "TRUNCATE docket")
    refused(session, "ALTER TABLE docket DISABLE TRIGGER docket_append_only")
    refused(session, "SET session_replication_role = replica")


@EVERY_ROLE
def test_nobody_says_where_money_may_go(session: Session) -> None:
    refused(session, "UPDATE nodes SET sweep_scripts = '{}'")
    refused(session, "INSERT INTO nodes (name, sweep_scripts) VALUES ('mallory', '{00}')")
    refused(session, "INSERT INTO node_secrets (node, secret) VALUES ('alice', 'whsec_x')")


@of(Role.WORKER, Role.GATEWAY)
def test_a_channel_changes_its_state_and_nothing_else(session: Session) -> None:
    session.execute("UPDATE channels SET state = 'DEFAULT' WHERE false")
    refused(session, "UPDATE channels SET node = 'mallory'")
    refused(session, "UPDATE channels SET capacity_sat = 1")
    refused(session, "DELETE FROM channels")


@of(Role.SIGNER, Role.READER, Role.GATEWAY)
def test_only_a_watcher_leads_and_only_a_watcher_moves_the_chain(session: Session) -> None:
    refused(session, "UPDATE leases SET epoch = 9")
    refused(session, "UPDATE chain_cursor SET height = 9")
    refused(session, "INSERT INTO spends DEFAULT VALUES")


@of(Role.SIGNER)
def test_what_was_signed_stays_signed(session: Session) -> None:
    """P3 rests on it: the one commitment of a channel is never forgotten."""
    refused(session, "DELETE FROM signed_commitments")
    refused(session, "UPDATE signed_commitments SET txid = ''")
    refused(session, "DELETE FROM sealed_secrets")
    refused(session, "UPDATE sealed_secrets SET sealed = ''")
    refused(session, "SELECT * FROM docket")
    refused(session, "SELECT * FROM cases")


@EVERY_ROLE
def test_nobody_makes_tables_users_or_programs(session: Session) -> None:
    refused(session, "CREATE TABLE mine (n integer)")
    refused(session, "CREATE ROLE mallory SUPERUSER LOGIN")
    refused(session, "COPY (SELECT 1) TO PROGRAM 'true'")
    refused(session, "SELECT pg_read_file('PG_VERSION')")
    refused(session, "SELECT rolpassword FROM pg_authid")


@of(Role.WORKER)
def test_a_function_of_the_owner_takes_no_table_of_its_caller_for_its_own(session: Session) -> None:
    """Else a trigger on a temporary table would run as the owner of everything."""
    settings = session.execute(
        "SELECT proname, proconfig FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace AND prosecdef"
    ).fetchall()
    assert settings
    assert {tuple(config) for _, config in settings} == {("search_path=public, pg_temp",)}
    session.execute("CREATE TEMP TABLE docket (LIKE public.docket)")
    assert session.execute("SELECT make_docket_part('2001-01-01')").fetchone() == (True,)
    parts = "SELECT count(*) FROM pg_inherits WHERE inhrelid = 'docket_2001_01'::regclass"
    assert session.execute(f"{parts} AND inhparent = 'public.docket'::regclass").fetchone() == (1,)
    session.execute("DROP TABLE pg_temp.docket")


# -- how roles come to a cluster --


@pytest.fixture(scope="module")
def fresh_cluster() -> Iterator[str]:
    """A cluster in which nobody has migrated yet."""
    folder = Path(tempfile.mkdtemp(prefix="contractcourt-roles-"))
    server, port = EmbeddedPostgres(folder / "data", password="test"), Ports().take()
    server.prepare()
    process = Process(server.program(port), logs=folder)
    try:
        process.start()
        wait_for_postgres(process, server.url(port))
        yield server.url(port)
    finally:
        process.ask_to_stop()
        process.finish()
        shutil.rmtree(folder, ignore_errors=True)


def test_roles_come_to_a_fresh_cluster_in_every_way(fresh_cluster: str) -> None:
    """First a migrator who may not make roles, then many databases at the same moment."""
    with psycopg.connect(fresh_cluster, autocommit=True) as superuser:
        superuser.execute("CREATE ROLE humble LOGIN PASSWORD 'humble'")
        superuser.execute("CREATE DATABASE humble OWNER humble")
        for number in range(4):
            superuser.execute(f"CREATE DATABASE court_{number}".encode())
    humble = url_of(fresh_cluster, "humble").replace("contractcourt:test@", "humble:humble@")
    assert migrate(humble)
    with psycopg.connect(humble) as conn:
        assert roles.missing(conn) == tuple(Role)
        with pytest.raises(RolesMissing, match="CREATEROLE"):
            roles.put_login(conn, Role.WORKER, "me", PASSWORD)

    courts = [url_of(fresh_cluster, f"court_{number}") for number in range(4)]
    migrators = [subprocess.Popen([sys.executable, "-c", MIGRATE, url]) for url in courts]
    assert [migrator.wait(240) for migrator in migrators] == [0, 0, 0, 0]
    assert migrate(humble) == []
    for url in (*courts, humble):
        with psycopg.connect(url) as conn:
            assert roles.missing(conn) == ()
            assert conn.execute(GRANTED).fetchall() == [(True, False)]


def test_a_grant_that_somebody_changed_is_put_right(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("GRANT SELECT ON sealed_secrets TO contractcourt_reader")
        owner.execute("REVOKE INSERT ON docket FROM contractcourt_worker")
        migrate(database_url)
        assert owner.execute(GRANTED).fetchall() == [(True, False)]


GRANTED = """
    SELECT has_table_privilege('contractcourt_worker', 'docket', 'INSERT'),
           has_table_privilege('contractcourt_reader', 'sealed_secrets', 'SELECT')
"""
