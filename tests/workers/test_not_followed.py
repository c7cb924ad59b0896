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


def test_b10_so_is_one_whose_words_postgres_has_no_room_for(
    court: Watched, chain: BitcoinCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raising the alarm failed, and ended the watcher."""
    monkeypatch.setattr(progress, "_NOT_FOLLOWED_SECONDS", 0.0)
    answer = {"chain": "reg\0test", "blocks": 1, "bestblockhash": "00" * 32}
    court.devnet.rpc("devnet_set_fault", method="getblockchaininfo", calls=1, result=answer)
    with pytest.raises(ChainError):
        _watcher(court, chain).step()
    [message] = _told(court)
    assert message.startswith("the Bitcoin node serves reg?test")


@pytest.mark.parametrize("blocks", [2**31, -1, 7.5])
def test_b10_so_is_one_at_a_height_that_there_is_not(
    court: Watched, chain: BitcoinCore, monkeypatch: pytest.MonkeyPatch, blocks: float
) -> None:
    monkeypatch.setattr(progress, "_NOT_FOLLOWED_SECONDS", 0.0)
    best = court.devnet.rpc("getbestblockhash")
    answer = {"chain": "regtest", "blocks": blocks, "bestblockhash": best}
    court.devnet.rpc("devnet_set_fault", method="getblockchaininfo", calls=1, result=answer)
    court.devnet.rpc("devnet_set_fault", method="getblockhash", calls=200, result=best)
    with pytest.raises(ChainError):
        _watcher(court, chain).step()
    [message] = _told(court)
    assert "makes no sense" in message


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
