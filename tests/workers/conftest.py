"""A court beside a devnet, a client of that, and a watcher between them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chain.bitcoin_core import BitcoinCore
from chain.devnet.process import DevnetProcess
from storage.database import Database
from tests.chain.devnet_money import fund
from tests.workers.watching import Watched, Watcher, node


@pytest.fixture
def court(db: Database, devnet: DevnetProcess) -> Watched:
    return Watched(db, devnet)


@pytest.fixture
def chain(devnet: DevnetProcess) -> Iterator[BitcoinCore]:
    with node(devnet) as chain:
        yield chain


@pytest.fixture
def watcher(court: Watched, chain: BitcoinCore) -> Watcher:
    """A watcher that has taken in the chain as it stands."""
    fund(court.devnet)
    watcher = Watcher(court.db, chain)
    watcher.settle()
    return watcher
