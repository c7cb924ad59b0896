"""The ground a bench stands on: a Postgres and a Redis of its own, gone when it ends."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg

from storage.database import Database
from storage.migrate import migrate
from workers.embedded.ports import Ports
from workers.embedded.postgres import EmbeddedPostgres
from workers.embedded.redis import find_binary
from workers.process import Process
from workers.up import probes

_PATIENCE_SECONDS = 60
#: As a small server is set up. Commits are durable: fsync and synchronous_commit stay on.
_SETTINGS = {
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
}


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a fresh, durable Postgres server."""
    directory = Path(tempfile.mkdtemp(prefix="contractcourt-bench-"))
    server = EmbeddedPostgres(directory / "data", password="bench")
    server.prepare()
    port = Ports().take()
    process = Process(server.program(port), logs=directory)
    try:
        url = server.url(port)
        _start(process, url)
        with psycopg.connect(url, autocommit=True) as connection:
            for name, value in _SETTINGS.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        process.ask_to_stop()
        process.finish()
        _start(process, url)
        yield url
    finally:
        process.ask_to_stop()
        process.finish()
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def database(server_url: str, *, max_size: int = 8) -> Iterator[Database]:
    """A fresh migrated database of that server."""
    name = f"court_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        url = server_url.rpartition("/")[0] + f"/{name}"
        try:
            migrate(url)
            # Some statements here fill tables, and take the time that this takes.
            with closing(Database(url, max_size=max_size, answer_seconds=600.0)) as db:
                yield db
        finally:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextmanager
def redis_server() -> Iterator[str]:
    """The URL of an empty Redis without persistence."""
    directory = tempfile.mkdtemp(prefix="contractcourt-bench-redis-")
    port = Ports().take()
    server = subprocess.Popen(
        [str(find_binary()), "--port", str(port), "--bind", "127.0.0.1", "--dir", directory,
         "--save", "", "--appendonly", "no", "--daemonize", "no"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"redis://127.0.0.1:{port}/0"
    try:
        _wait(lambda: probes.redis_server(url) is None)
        yield url
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _start(process: Process, url: str) -> None:
    process.start()
    _wait(lambda: probes.postgres(url) is None)


def _wait(ready: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    while not ready():
        if time.monotonic() > give_up_at:
            raise TimeoutError("a server of the bench does not come up")
        time.sleep(0.05)
