"""What a worker process holds, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from chain.devnet.process import DevnetProcess
from tasks import resources
from tasks.resources import Resources
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
    with redis.Redis.from_url(redis_url) as broker:
        broker.flushdb()


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
