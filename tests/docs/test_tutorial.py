"""The tutorial's commands, taken from the page and typed one after the other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workers.running_up import RunningUp, clean_environment, cli

PROJECT = Path(__file__).parent.parent.parent
PAGE = PROJECT / "docs" / "tutorial" / "first-channel.md"
#: The first command takes a terminal of its own.
START = "contractcourt up --data-dir court --port 0"
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)


def blocks() -> list[str]:
    return _BLOCK.findall(PAGE.read_text())


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[RunningUp]:
    """A folder that looks like the project's, with the court of the first command."""
    (tmp_path / "docs").symlink_to(PROJECT / "docs")
    assert blocks()[0].strip() == START
    running = RunningUp(tmp_path / "court", "--port", "0")
    try:
        running.wait_ready()
        yield running
    finally:
        running.kill()


@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_the_tutorial_works_as_it_is_written(desk: RunningUp) -> None:
    commands = "\n".join(blocks()[1:])
    # A newcomer would stop at the first command that fails.
    script = f"set -eu -o pipefail\nPATH={Path(sys.executable).parent}:$PATH\n{commands}\n"
    script += 'echo "$CP" > channel_point\n'
    typed = subprocess.run(
        ["bash", "-c", script],
        cwd=desk.folder.parent,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert typed.returncode == 0, typed.stdout + typed.stderr + desk.words()
    point = (desk.folder.parent / "channel_point").read_text().strip()
    case = json.loads(cli(desk.folder, "channel", point, "--json").stdout)
    assert (case["state"], case["close"]["kind"]) == ("FULLY_RESOLVED", "breach")
    account = json.loads(cli(desk.folder, "account", point, "--json").stdout)
    assert account["final"]
    assert (account["lost_sat"], account["open_sat"], account["given_up_sat"]) == (0, 0, 0)
    assert json.loads(cli(desk.folder, "alarms", "--json").stdout) == []


def test_every_block_of_the_page_is_typed_or_is_no_command() -> None:
    fences = re.findall(r"^```(\w*)$", PAGE.read_text(), re.M)
    assert set(fences) - {""} == {"sh", "text"}
    assert len(blocks()) >= 8
