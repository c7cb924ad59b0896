"""What a shell offers at Tab: commands, this court's channel points and nodes, or nothing."""

from __future__ import annotations

import pytest

from storage.database import Database
from tests.conftest import free_port
from tests.storage import examples
from tests.workers.test_cli import Run, court, open_channel, run

__all__ = ["court", "run"]


def offered(command: Run, monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """What bash is told when Tab is pressed behind these words."""
    monkeypatch.setenv("_CONTRACTCOURT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(["contractcourt", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    told = command()
    assert told.err == ""
    return told.out.split()


def test_commands_are_offered(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered(run, monkeypatch, "cha") == ["channels", "channel"]


def test_channel_points_and_nodes_of_this_court_are_offered(
    court: Run, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [open_channel(db, number) for number in (1, 2)]
    for command in ("channel", "docket", "account", "audit", "force-close"):
        assert offered(court, monkeypatch, command, "") == points
    assert offered(court, monkeypatch, "channel", points[0][:64]) == points[:1]
    assert offered(court, monkeypatch, "channel", "ff") == []
    assert offered(court, monkeypatch, "node", "policy", examples.NODE[:2]) == [examples.NODE]
    assert offered(court, monkeypatch, "channels", "--node", "") == [examples.NODE]


@pytest.mark.parametrize("url", [None, "postgresql://court:hunter2@127.0.0.1:{port}/court"])
def test_nothing_is_offered_when_no_court_can_be_asked(
    run: Run, monkeypatch: pytest.MonkeyPatch, url: str | None
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    if url is not None:
        monkeypatch.setenv("DATABASE_URL", url.format(port=free_port()))
    assert offered(run, monkeypatch, "channel", "00") == []
