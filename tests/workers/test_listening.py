"""Servers of the fleet that can't listen where they should: a failure in words, no outage."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.seal import create_seal_key
from tests.storage.examples import WEBHOOK_KEY
from workers.cli.exits import Exit


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which something else listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@pytest.fixture
def environment(database_url: str, tmp_path: Path, taken: int) -> dict[str, str]:
    create_seal_key(tmp_path / "seal.key")
    return {
        **os.environ,
        "DATABASE_URL": database_url,
        "BITCOIND_URL": f"http://court:secret@127.0.0.1:{taken}",
        "CONTRACTCOURT_DATA_DIR": str(tmp_path),
        "CONTRACTCOURT_SEAL_KEY_FILE": str(tmp_path / "seal.key"),
        "CONTRACTCOURT_SIGNER_TOKEN": "t" * 32,
        "CONTRACTCOURT_WEBHOOK_KEY": WEBHOOK_KEY,
    }


def ended(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workers.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("process", ["gateway", "signer", "devnet"])
def test_a_port_that_is_taken_is_no_outage_to_try_again_after(
    environment: dict[str, str], taken: int, process: str
) -> None:
    refused = ended(environment, process, "--port", str(taken))
    assert refused.returncode == Exit.FAILED
    last = refused.stderr.splitlines()[-1].lower()
    assert last == f"contractcourt: can't listen on 127.0.0.1, port {taken}: address already in use"


@pytest.mark.parametrize("process", ["gateway", "signer"])
def test_an_address_that_is_no_ones_is_named(environment: dict[str, str], process: str) -> None:
    refused = ended(environment, process, "--host", "no.such.host.invalid", "--port", "0")
    assert refused.returncode == Exit.FAILED
    assert "contractcourt: can't listen on no.such.host.invalid, port 0: " in refused.stderr
