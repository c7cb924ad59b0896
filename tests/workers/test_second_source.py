"""Two nodes that may disagree: the court never finalises on a chain it can see to be losing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from chain.bitcoin_core import BitcoinCore
from chain.devnet.process import DevnetProcess
from contractcourt.alarms import AlarmKind
from storage import alarms
from storage.database import Database
from tests.chain.devnet_money import fund
from tests.workers.watching import Watched, Watcher, mine, node, reorg, spending
from workers.chain_watcher import Step
from workers.watcher import progress, second_source
from workers.watcher.progress import Progress


class TwoNodes:
    """A court whose watcher follows `first` and compares with `second`."""

    def __init__(self, court: Watched, first: DevnetProcess, second: DevnetProcess) -> None:
        self.court, self.first, self.second = court, first, second
        self._stack = ExitStack()
        self.watcher = Watcher(
            court.db, self.client(first), second=self.client(second), lease_seconds=60.0
        )

    def client(self, process: DevnetProcess) -> BitcoinCore:
        return self._stack.enter_context(node(process, timeout_seconds=5))

    def close(self) -> None:
        self._stack.close()

    def share(self, source: DevnetProcess, target: DevnetProcess) -> None:
        """`target` hears of the blocks that `source` has, as from a peer."""
        for height in range(1, source.rpc("getblockcount") + 1):
            raw = source.rpc("getblock", source.rpc("getblockhash", height), 0)
            target.rpc("submitblock", raw)

    def alarms(self) -> set[AlarmKind]:
        with self.court.db.transaction() as conn:
            return {AlarmKind(alarm.kind) for alarm in alarms.list_open(conn)}


@pytest.fixture
def nodes(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoNodes]:
    """Both at one tip, which the watcher has taken in; every round compares."""
    monkeypatch.setattr(second_source, "_ASK_AGAIN_SECONDS", 0.0)
    with DevnetProcess(tmp_path / "one") as first, DevnetProcess(tmp_path / "two") as second:
        both = TwoNodes(Watched(db, first), first, second)
        fund(first)
        both.share(first, second)
        assert both.watcher.settle() is Step.RESTED
        yield both
        both.close()


def test_b10_on_a_chain_with_less_work_nothing_becomes_final(nodes: TwoNodes) -> None:
    """The first node is cut off: a close confirms there, deep enough, and is not believed."""
    channel_id, outpoint = nodes.court.funded_channel()
    nodes.share(nodes.first, nodes.second)
    nodes.watcher.settle()
    mine(nodes.second, count=12)
    height = mine(nodes.first, spending(outpoint))
    nodes.court.wake_at(channel_id, height)
    mine(nodes.first, count=8)
    for _ in range(3):
        assert nodes.watcher.step() is Step.WAITING
    assert nodes.court.told(channel_id) == []
    assert nodes.court.cursor.height == height - 1
    assert nodes.alarms() == {AlarmKind.MINORITY_CHAIN}
    nodes.share(nodes.second, nodes.first)
    nodes.watcher.settle()
    assert nodes.court.told(channel_id) == [("height", height)]
    assert nodes.court.is_at_tip()
    assert nodes.alarms() == set()


def test_b10_a_split_under_blocks_that_were_taken_in_stops_every_deadline(nodes: TwoNodes) -> None:
    """The other chain comes to light late: what was seen stays a rumour of few confirmations."""
    channel_id, outpoint = nodes.court.funded_channel()
    nodes.share(nodes.first, nodes.second)
    height = mine(nodes.first, spending(outpoint))
    nodes.watcher.settle()
    assert nodes.court.told(channel_id) == [("spent", height)]
    nodes.court.wake_at(channel_id, height + 2)
    mine(nodes.second, count=6)
    mine(nodes.first, count=4)
    assert nodes.watcher.step() is Step.WAITING
    assert nodes.court.told(channel_id) == [("spent", height)]
    nodes.share(nodes.second, nodes.first)
    nodes.watcher.settle()
    assert nodes.court.told(channel_id) == [
        ("spent", height),
        ("unspent", height - 1),
        ("height", height + 2),
    ]


def test_b10_a_branch_with_no_more_work_is_only_told_of(nodes: TwoNodes) -> None:
    mine(nodes.first)
    mine(nodes.second)
    nodes.watcher.settle()
    assert nodes.court.is_at_tip()
    assert nodes.alarms() == {AlarmKind.SOURCES_DIFFER}
    reorg(nodes.second, 1)
    assert nodes.watcher.step() is Step.WAITING
    assert nodes.alarms() == {AlarmKind.MINORITY_CHAIN}


def test_b10_a_node_that_is_merely_late_or_ahead_agrees(nodes: TwoNodes) -> None:
    mine(nodes.first, count=3)
    nodes.watcher.settle()
    assert nodes.court.is_at_tip()
    nodes.share(nodes.first, nodes.second)
    mine(nodes.second, count=3)
    assert nodes.watcher.settle() is Step.RESTED
    assert nodes.alarms() == set()


def test_b10_a_second_node_that_is_away_stops_nothing(nodes: TwoNodes) -> None:
    nodes.second.kill()
    mine(nodes.first)
    nodes.watcher.settle()
    assert nodes.court.is_at_tip()
    assert nodes.alarms() == {AlarmKind.SECOND_SOURCE_AWAY}
    nodes.second.launch()
    nodes.share(nodes.first, nodes.second)
    nodes.watcher.settle()
    assert nodes.alarms() == set()


def test_b10_an_alarm_when_no_block_comes(nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_EVERY_SECONDS", 0.0)
    looks = Progress(nodes.court.db, no_block_seconds=3_600.0, docket_seconds=60.0)
    looks.step()
    assert nodes.alarms() == set()
    with nodes.court.db.transaction() as conn:
        conn.execute("UPDATE blocks SET connected_at = connected_at - interval '2 hours'")
    looks.step()
    assert nodes.alarms() == {AlarmKind.NO_NEW_BLOCK}
    mine(nodes.first)
    nodes.watcher.settle()
    looks.step()
    assert nodes.alarms() == set()
