"""PgBouncer in transaction mode before a Postgres of its own (users_ask P3)."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from workers.embedded.passage import allow_passage
from workers.embedded.ports import Ports
from workers.embedded.postgres import EmbeddedPostgres
from workers.process import Process, Program
from workers.up import probes

#: Fewer connections to Postgres than the court's processes open, so that they really share them.
_POOL_SIZE = 6
_CONFIGURATION = """\
[databases]
* = host=127.0.0.1 port={postgres_port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
auth_user = {user}
auth_query = SELECT usename, passwd FROM pg_shadow WHERE usename = $1
admin_users = {user}
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 500
server_idle_timeout = 10
"""


@contextmanager
def pooled_postgres(folder: Path) -> Iterator[tuple[str, str]]:
    """(URL of the Postgres server, URL of the pooler before it); both end with the `with`."""
    server = EmbeddedPostgres(folder / "postgres", password="test")
    server.prepare()
    ports = Ports()
    postgres_port, port = ports.take(), ports.take()
    postgres = Process(server.program(postgres_port), folder)
    direct = server.url(postgres_port)
    pooler = Process(_pgbouncer(folder / "pgbouncer", direct, port, server), folder)
    try:
        postgres.start()
        _until_it_lets_us_in(direct, postgres)
        pooler.start()
        through = f"postgresql://{urlsplit(direct).netloc.rpartition(':')[0]}:{port}/postgres"
        _until_it_lets_us_in(through, pooler)
        yield direct, through
    finally:
        for process in (pooler, postgres):
            process.ask_to_stop()
            process.finish()
        ports.close()


def transactions_pooled(through: str) -> int:
    """How many transactions the pooler has passed on, by its own count."""
    console = f"{through.rpartition('/')[0]}/pgbouncer"
    with psycopg.connect(console, autocommit=True) as connection:
        # Its console speaks the simple protocol only.
        cursor = connection.cursor()
        cursor.execute("SHOW TOTALS")
        totals = {str(name): int(value) for name, value in cursor.fetchall()}
    return totals["total_xact_count"]


def _pgbouncer(folder: Path, direct: str, port: int, server: EmbeddedPostgres) -> Program:
    """PgBouncer refuses root too: it runs as whom Postgres runs as."""
    folder.mkdir()
    parts = urlsplit(direct)
    users, configuration = folder / "users.txt", folder / "pgbouncer.ini"
    users.write_text(f'"{parts.username}" "{parts.password}"\n')
    configuration.write_text(
        _CONFIGURATION.format(
            postgres_port=parts.port,
            port=port,
            users=users,
            user=parts.username,
            pool_size=_POOL_SIZE,
        )
    )
    account = server.program(port).account
    if account is not None:
        allow_passage(users, account)
        for path in (folder, users, configuration):
            os.chown(path, account.uid, account.gid)
    binary = shutil.which("pgbouncer")
    assert binary is not None, "pgbouncer is not installed"
    return Program("pgbouncer", (binary, str(configuration)), account=account)


def _until_it_lets_us_in(url: str, process: Process) -> None:
    give_up_at = time.monotonic() + 60
    while not_ready := probes.postgres(url):
        assert process.exit_code() is None, process.last_lines()
        assert time.monotonic() < give_up_at, not_ready
        time.sleep(0.05)
