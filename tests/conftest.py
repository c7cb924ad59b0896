"""Real parts for every test: one Postgres and one Redis a session, a fresh database a test."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import redis
from hypothesis import settings
from psycopg.pq import TransactionStatus

from storage.database import Database
from storage.migrate import migrate
from tests import summary as figures
from workers.embedded.ports import Ports
from workers.embedded.postgres import EmbeddedPostgres
from workers.embedded.redis import find_binary
from workers.process import Process
from workers.up import probes

if TYPE_CHECKING:
    from chain.devnet.process import DevnetProcess


def _own_root() -> None:
    """A root of its own for the folders of this run.

    In the one that all runs of a user share, the start of another run takes away the passage of
    Postgres' account, and with it the Postgres of a court that stands there.
    """
    root, maker = tempfile.mkdtemp(prefix="contractcourt-tests-"), os.getpid()
    os.environ["PYTEST_DEBUG_TEMPROOT"] = root

    def remove() -> None:
        if os.getpid() == maker:
            shutil.rmtree(root, ignore_errors=True)

    atexit.register(remove)


if "PYTEST_DEBUG_TEMPROOT" not in os.environ:
    _own_root()

#: The browser's driver is no part of the locked environment: `make browser` brings it.
collect_ignore = [] if find_spec("selenium") else ["browser"]

#: How long an example takes says more about the machine than about the law.
settings.register_profile("default", deadline=None)

#: Nothing here outlives the session, so nothing needs to survive a power cut.
CARELESS_SETTINGS = ("fsync", "synchronous_commit", "full_page_writes")


@pytest.fixture
def summary(record_property: Callable[[str, object], None]) -> figures.Summary:
    """Call it with a figure that the end of the run should show."""
    return lambda text: record_property(figures.PROPERTY, text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    figures.print_all(terminalreporter)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A Postgres server: TEST_DATABASE_URL if set, else an embedded one."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    directory = Path(tempfile.mkdtemp(prefix="contractcourt-pg-"))
    server = EmbeddedPostgres(directory / "data", password="test")
    server.prepare()
    port = Ports().take()
    process = Process(server.program(port), logs=directory)
    try:
        process.start()
        url = server.url(port)
        wait_for_postgres(process, url)
        with psycopg.connect(url, autocommit=True) as connection:
            for setting in CARELESS_SETTINGS:
                connection.execute(f"ALTER SYSTEM SET {setting} = off")
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        process.ask_to_stop()
        process.finish()
        shutil.rmtree(directory, ignore_errors=True)


def wait_for_postgres(process: Process, url: str) -> None:
    """Until it lets us in."""
    give_up_at = time.monotonic() + 60
    while not_ready := probes.postgres(url):
        assert process.exit_code() is None, process.last_lines()
        assert time.monotonic() < give_up_at, not_ready
        time.sleep(0.02)


@pytest.fixture(scope="session")
def template_database(postgres_url: str) -> Iterator[str]:
    """The name of a database that was migrated once and is copied for each test."""
    name = f"template_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        migrate(url_of(postgres_url, name))
        yield name
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def pooler_url(postgres_url: str) -> str:
    """What stands before that server: TEST_POOLER_URL if set, else nothing, and it is the same."""
    return os.environ.get("TEST_POOLER_URL", postgres_url)


@pytest.fixture
def database_url(postgres_url: str, pooler_url: str, template_database: str) -> Iterator[str]:
    """A fresh migrated database, through the pooler if there is one."""
    name = f"court_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
        yield url_of(pooler_url, name)
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A fresh database that was never migrated."""
    name = f"empty_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield url_of(postgres_url, name)
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """Storage on a fresh migrated database."""
    with closing(Database(database_url, max_size=8)) as database:
        yield database


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """A Redis server on a socket-free port of its own, without persistence."""
    directory = tempfile.mkdtemp(prefix="contractcourt-redis-")
    server, url = start_redis(directory)
    try:
        yield url
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """That server, empty: whatever a test leaves in a queue, the next one would meet."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server


@pytest.fixture
def devnet(tmp_path: Path) -> Iterator[DevnetProcess]:
    """A regtest node of its own."""
    from chain.devnet.process import DevnetProcess

    with DevnetProcess(tmp_path / "devnet") as process:
        yield process


def url_of(server_url: str, database: str) -> str:
    """The same server's URL for another database (TCP and unix-socket servers)."""
    scheme, _, rest = server_url.partition("://")
    authority, _, path = rest.partition("/")
    _, mark, options = path.partition("?")
    return f"{scheme}://{authority}/{database}{mark}{options}"


def start_redis(directory: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start a Redis in `directory` and wait until it answers."""
    port = free_port()
    server = subprocess.Popen(
        [str(find_binary()), "--port", str(port), "--bind", "127.0.0.1", "--dir", directory,
         "--save", "", "--appendonly", "no", "--daemonize", "no"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"redis://127.0.0.1:{port}/0"
    give_up_at = time.monotonic() + 20
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
                return server, url
            except redis.ConnectionError:
                if server.poll() is not None or time.monotonic() > give_up_at:
                    server.kill()
                    raise
                time.sleep(0.02)


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that goes to Postgres, BEGIN and COMMIT with them, in order."""
    heard: list[str] = []
    execute = psycopg.Cursor.execute
    commit = psycopg.Connection.commit

    def counted(cursor: psycopg.Cursor[Any], query: Any, *args: Any, **options: Any) -> Any:
        heard.append(str(query))
        return execute(cursor, query, *args, **options)

    def counted_commit(connection: psycopg.Connection[Any]) -> None:
        if connection.info.transaction_status != TransactionStatus.IDLE:
            heard.append("COMMIT")
        commit(connection)

    monkeypatch.setattr(psycopg.Cursor, "execute", counted)
    monkeypatch.setattr(psycopg.Connection, "commit", counted_commit)
    return heard
