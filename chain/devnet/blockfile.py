"""The devnet's memory over restarts: every accepted block, in the order of arrival, in one file.

A block is written before anybody hears of it. A write torn by a kill is cut off at the next
start, so that a SIGKILL costs at most the block that nobody was told about.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path

from chain.devnet.errors import DatadirInUse
from contractcourt.units import BlockHash

_LENGTH_BYTES = 4


class BlockFile:
    """`blocks.dat` (length and raw block, again and again) and `invalid.json` in the datadir.

    `scratch` is a folder for the kernel. Raises DatadirInUse while another process has the file.
    """

    def __init__(self, datadir: Path) -> None:
        datadir.mkdir(parents=True, exist_ok=True)
        self._invalid_path = datadir / "invalid.json"
        self.scratch = datadir / "kernel"
        self._file = (datadir / "blocks.dat").open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DatadirInUse(f"another devnet runs in {datadir}") from error

    def close(self) -> None:
        self._file.close()

    def read(self) -> list[bytes]:
        """All raw blocks; the torn end of the file, if there is one, is cut off."""
        self._file.seek(0)
        data = self._file.read()
        blocks: list[bytes] = []
        at = 0
        while at + _LENGTH_BYTES <= len(data):
            end = at + _LENGTH_BYTES + int.from_bytes(data[at : at + _LENGTH_BYTES], "little")
            if end > len(data):
                break
            blocks.append(data[at + _LENGTH_BYTES : end])
            at = end
        self._file.truncate(at)
        return blocks

    def append(self, raw: bytes) -> None:
        """Keep one more block. It outlives a kill of the process, not a power cut."""
        self._file.write(len(raw).to_bytes(_LENGTH_BYTES, "little") + raw)
        self._file.flush()

    def read_invalid(self) -> set[BlockHash]:
        """The blocks that `invalidateblock` named."""
        if not self._invalid_path.exists():
            return set()
        return {BlockHash.parse(text) for text in json.loads(self._invalid_path.read_text())}

    def write_invalid(self, hashes: Iterable[BlockHash]) -> None:
        """Replace the list of invalidated blocks."""
        draft = self._invalid_path.with_suffix(".new")
        draft.write_text(json.dumps(sorted(item.hex() for item in hashes)))
        os.replace(draft, self._invalid_path)
