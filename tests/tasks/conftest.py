"""What a worker process holds, in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from chain.bitcoin_core import BitcoinCore
from chain.devnet.process import DevnetProcess
from storage.database import Database
from tasks import resources
from tasks.environment import load_settings
from tasks.resources import Resources
from tasks.signer_client import SignerClient
from tasks.way import Way
from tests.tasks.sweeps import worker_beside_a_signer
from tests.tasks.test_urgent_lane import NOWHERE


@pytest.fixture
def held(
    database_url: str,
    redis_url: str,
    devnet: DevnetProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Resources]:
    """What a worker holds."""
    env = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "BITCOIND_URL": devnet.url}
    for name, value in {**NOWHERE, **env}.items():
        monkeypatch.setenv(name, value)
    yield resources.resources()
    resources.close()


@pytest.fixture
def sweeper(
    database_url: str,
    redis_url: str,
    devnet: DevnetProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Resources]:
    """What a worker holds that sweeps."""
    with worker_beside_a_signer(database_url, redis_url, devnet, tmp_path, monkeypatch) as held:
        yield held


@pytest.fixture
def cut_off(
    db: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Resources]:
    """What a worker holds that reaches Postgres and nothing else."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    settings = load_settings(database_url=database_url)
    nowhere = "http://127.0.0.1:9"
    with closing(BitcoinCore(nowhere)) as chain, closing(SignerClient(nowhere, "x" * 16)) as signer:
        yield Resources(os.getpid(), settings, db, chain, signer, Way("redis://127.0.0.1:9"))
