"""One recorded closing (format `ldk-close-fixture-1`; tests/data/ldk/README.md has the fields)."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.errors import WorkerError

FORMAT = "ldk-close-fixture-1"

#: Our name of each kind of close that a file may tell of.
CLOSE_KINDS = {
    "coop": "cooperative",
    "local": "local",
    "remote_current": "remote",
    "remote_pending": "remote_pending",
    "remote_revoked": "breach",
}


class FixtureError(WorkerError):
    """This file is not a recorded closing that the court can replay."""


@dataclass(frozen=True, slots=True)
class Fixture:
    """A recorded closing. `A` is our node; amounts in satoshi, heights of the recorded chain."""

    name: str
    document: dict[str, Any]
    blocks: tuple[str, ...]

    @classmethod
    def load(cls, path: Path) -> Fixture:
        """Read a file and the blocks beside it. Raises FixtureError, naming what is missing."""
        try:
            document = json.loads(path.read_text())
            if document["format"] != FORMAT:
                raise FixtureError(f"{path.name}: format {document['format']} is not {FORMAT}")
            blocks_file = path.parent / document["blocks_file"]
            with gzip.open(blocks_file, "rt") as lines:
                blocks = tuple(line.strip() for line in lines if line.strip())
            return cls(document["name"], document, blocks)
        except (OSError, ValueError, KeyError) as error:
            raise FixtureError(f"{path.name}: {type(error).__name__}: {error}") from error

    @property
    def channel_point(self) -> str:
        funding = self.document["channel"]["funding_outpoint"]
        return f"{funding['txid']}:{funding['vout']}"

    @property
    def close_height(self) -> int:
        return int(self.document["closing_tx"]["height"])

    @property
    def end_height(self) -> int:
        return int(self.document["end_height"])

    @property
    def closing_txid(self) -> str:
        return str(self.document["closing_tx"]["txid"])

    @property
    def close_kind(self) -> str:
        return CLOSE_KINDS[self.document["closing_tx"]["kind"]]

    @property
    def closed_by_us(self) -> bool:
        """Our own node forces the close, so the court publishes the commitment itself."""
        return self.close_kind == "local"

    @property
    def sweep_script(self) -> str:
        return str(self.document["secrets"]["A"]["wallet_script"])

    @property
    def shutdown_script(self) -> str:
        """Where a cooperative close pays our node."""
        return str(self.document["params"]["A"]["shutdown_scriptpubkey"])

    def peer_transactions(self, height: int) -> list[str]:
        """What the peer had mined at `height` after the close, as hex."""
        return [
            tx["hex"]
            for tx in self.document["confirmed"]
            if tx["by"] == "B" and tx["height"] == height and tx["txid"] != self.closing_txid
        ]
