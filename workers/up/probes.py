"""Asks a part whether it is ready, the way its users would ask. None means yes."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import psycopg
import redis

from storage import blocks, lease
from storage.database import Database
from workers.up.part import NotReady

_TIMEOUT_SECONDS = 2
_UNAUTHORIZED = 401
# The parts are on this machine: no proxy of the environment stands between.
_OPENER = build_opener(ProxyHandler({}))


def postgres(url: str) -> NotReady | None:
    """Postgres lets us in."""
    try:
        psycopg.connect(url, connect_timeout=_TIMEOUT_SECONDS).close()
    except psycopg.Error as error:
        return str(error).strip().splitlines()[-1]
    return None


def redis_server(url: str) -> NotReady | None:
    """Redis answers, and is not still loading its append-only file."""
    client = redis.Redis.from_url(
        url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS
    )
    with closing(client):
        try:
            client.ping()
        except redis.RedisError as error:
            return str(error)
    return None


def bitcoin_node(url: str) -> NotReady | None:
    """The node answers `getblockcount`."""
    address = urlsplit(url)
    user = f"{unquote(address.username or '')}:{unquote(address.password or '')}"
    request = Request(
        f"http://{address.hostname}:{address.port}/",
        data=json.dumps({"id": 0, "method": "getblockcount", "params": []}).encode(),
        headers={
            "Authorization": f"Basic {b64encode(user.encode()).decode()}",
            "Content-Type": "application/json",
        },
    )
    return _ask(request)


def http(url: str) -> NotReady | None:
    """A GET is answered with success; a demand for a password is an answer too."""
    return _ask(Request(url))


def watcher(database_url: str) -> NotReady | None:
    """A watcher leads, and has taken up the chain."""
    with closing(Database(database_url, max_size=1, wait_seconds=_TIMEOUT_SECONDS)) as database:
        try:
            with database.transaction() as conn:
                leader = lease.read(conn, lease.CHAIN_WATCHER)
                cursor = blocks.cursor(conn)
        except psycopg.Error as error:
            return str(error).strip()
    if leader is None or not leader.live:
        return "no watcher leads yet"
    return None if cursor else "the chain has not been read yet"


def ready_file(path: Path) -> NotReady | None:
    """The part said so itself, by creating this file."""
    return None if path.exists() else "it has not reported ready"


def _ask(request: Request) -> NotReady | None:
    try:
        with _OPENER.open(request, timeout=_TIMEOUT_SECONDS) as answer:
            answer.read()
    except HTTPError as error:
        return None if error.code == _UNAUTHORIZED else f"it answers {error.code}"
    except OSError as error:
        return str(getattr(error, "reason", error))
    return None
