"""What the hosts of a test share: one Postgres, one Redis, one Bitcoin node, and their clocks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from chain.devnet.process import DevnetProcess
from storage import lease
from storage.database import Database
from tests.hosts.host import Host, new_host
from tests.workers.watching import Watched


@pytest.fixture
def court(db: Database, devnet: DevnetProcess) -> Watched:
    """The tables and the chain, seen from where nothing is ever cut."""
    return Watched(db, devnet)


@pytest.fixture
def first_host() -> Iterator[Host]:
    with new_host() as host:
        yield host


@pytest.fixture
def second_host() -> Iterator[Host]:
    with new_host() as host:
        yield host


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


def now(db: Database) -> datetime:
    """The database's clock: the only one that counts."""
    with db.transaction() as conn:
        [(moment,)] = conn.execute("SELECT clock_timestamp()").fetchall()
    assert isinstance(moment, datetime)
    return moment


def leader(db: Database) -> lease.Lease | None:
    with db.transaction() as conn:
        return lease.read(conn, lease.CHAIN_WATCHER)


def fencings(db: Database) -> list[int]:
    """The epochs whose holders woke up too late."""
    with db.transaction() as conn:
        return [epoch for (epoch,) in conn.execute("SELECT epoch FROM fencings ORDER BY epoch")]
