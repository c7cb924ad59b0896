"""The way of a command to the court's Postgres, and to one channel in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from contractcourt.bitcoin.outpoint import OutPoint
from storage import channels, nodes
from storage.channels import ChannelRow
from storage.database import Connection, Database
from storage.errors import UnknownChannel, UnknownNode
from storage.nodes import Node
from tasks.environment import load_settings
from tasks.settings import PREFIX, Settings

_CONNECT_SECONDS = 5


@contextmanager
def database(data_dir: Path) -> Iterator[Database]:
    """Postgres as the environment or the data folder names it, for one command."""
    url = load_settings(data_dir=data_dir).required_database_url
    # At once and in Postgres' own words; the pool below would try again until its time is up.
    psycopg.connect(url, connect_timeout=_CONNECT_SECONDS).close()
    opened = Database(url, max_size=1, application_name="contractcourt-cli")
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def transaction(data_dir: Path) -> Iterator[Connection]:
    """One transaction, committed unless the command fails."""
    with database(data_dir) as opened, opened.transaction() as conn:
        yield conn


@contextmanager
def looking(data_dir: Path) -> Iterator[Connection]:
    """One transaction that changes nothing, for what a command shows."""
    with database(data_dir) as opened, opened.looking() as conn:
        yield conn


def find(conn: Connection, channel_point: OutPoint) -> ChannelRow:
    """The channel of this name. Raises UnknownChannel."""
    row = channels.find(conn, channel_point)
    if row is None:
        raise UnknownChannel(
            f"no channel {channel_point} was opened here: `contractcourt channels` lists all"
        )
    return row


def find_node(conn: Connection, name: str) -> Node:
    """The node of this name. Raises UnknownNode."""
    node = nodes.get_node(conn, name)
    if node is None:
        raise UnknownNode(f"no node {name} is registered: `contractcourt node list` shows all")
    return node


def hand_on(settings: Settings) -> None:
    """Celery's app reads the environment itself, when it is first used: tell it what we know."""
    known = {
        "REDIS_URL": settings.required_redis_url,
        "DATABASE_URL": settings.database_url,
        "BITCOIND_URL": settings.bitcoind_url,
        f"{PREFIX}DATA_DIR": str(settings.data_dir),
        f"{PREFIX}WORKER_CONCURRENCY": str(settings.worker_concurrency),
    }
    os.environ.update({name: value for name, value in known.items() if value is not None})
