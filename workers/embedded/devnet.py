"""The regtest chain on py-bitcoinkernel as a child of ours (`chain/devnet`)."""

from __future__ import annotations

import importlib.util
import signal
import sys
from pathlib import Path

from contractcourt.errors import ContractCourtError
from workers.process import Program

USER = "contractcourt"
_LIBRARY = "pbk"


class DevnetUnusable(ContractCourtError):
    """The embedded regtest chain cannot be set up; set BITCOIND_URL to use another node."""


class EmbeddedDevnet:
    """One regtest chain in one folder."""

    def __init__(self, folder: Path, password: str) -> None:
        self.folder = folder.resolve()
        self._password = password
        if importlib.util.find_spec(_LIBRARY) is None:
            raise DevnetUnusable(
                "the embedded regtest chain is not installed (pip install "
                "'contractcourt[embedded]'), and BITCOIND_URL is not set: do one of the two"
            )

    def program(self, port: int) -> Program:
        """The node, answering Bitcoin Core's JSON-RPC on 127.0.0.1:`port`."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Program(
            name="devnet",
            argv=(
                *(sys.executable, "-m", "workers.cli", "devnet"),
                *("--chain-dir", str(self.folder), "--port", str(port)),
            ),
            environment={"BITCOIND_URL": self.url(port)},  # carries user and password
            orphan_signal=signal.SIGTERM,
        )

    def url(self, port: int) -> str:
        """Where its JSON-RPC is, once it answers."""
        return f"http://{USER}:{self._password}@127.0.0.1:{port}"
