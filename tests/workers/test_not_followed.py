"""A node that can't be followed is no matter of the logs alone: the operator is told why."""

from __future__ import annotations

import pytest

from chain.bitcoin_core import BitcoinCore
from chain.errors import ChainError
from contractcourt.alarms import AlarmKind
from storage import alarms
from tests.workers.watching import Watched, Watcher, mine, reorg
from workers.chain_watcher import Step
from workers.watcher import progress
from workers.watcher.progress import Progress


@pytest.fixture(autouse=True)
def at_every_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_EVERY_SECONDS", 0.0)


def _watcher(court: Watched, chain: BitcoinCore, network: str = "regtest") -> Watcher:
    looks = Progress(court.db, no_block_seconds=3_600.0, docket_seconds=60.0)
    return Watcher(court.db, chain, progress=looks, network=network)


def _told(court: Watched) -> list[str]:
    raised = court.db.run(alarms.list_open)
    return [one.message for one in raised if one.kind == AlarmKind.NODE_NOT_FOLLOWED]


def test_b10_a_node_that_is_away_for_long_is_alarmed_until_it_is_back(
    court: Watched, chain: BitcoinCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = _watcher(court, chain)
    watcher.settle()
    court.devnet.kill()
    with pytest.raises(ChainError):
        watcher.step()
    assert _told(court) == []
    monkeypatch.setattr(progress, "_NOT_FOLLOWED_SECONDS", 0.0)
    with pytest.raises(ChainError):
        watcher.step()
    [message] = _told(court)
    assert message.startswith("the Bitcoin node does not answer")
    court.devnet.launch()
    watcher.settle()
    assert _told(court) == []


def test_b10_so_is_one_of_another_network(
    court: Watched, chain: BitcoinCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_NOT_FOLLOWED_SECONDS", 0.0)
    with pytest.raises(ChainError):
        _watcher(court, chain, "main").step()
    [message] = _told(court)
    assert message.startswith("the Bitcoin node serves regtest, this court main")


def test_b10_so_is_one_that_lags_behind_what_the_court_has_seen(
    court: Watched, chain: BitcoinCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_NOT_FOLLOWED_SECONDS", 0.0)
    watcher = _watcher(court, chain)
    mine(court.devnet, count=3)
    watcher.settle()
    reorg(court.devnet, 2, length=0)
    assert watcher.step() is Step.WAITING
    [message] = _told(court)
    assert message.startswith("the Bitcoin node is at height")
    mine(court.devnet, count=3)
    watcher.settle()
    assert _told(court) == []
