"""Replays recorded closings through a whole court: `contractcourt replay FOLDER`.

Each file is one real channel: its keys, its updates, its closing transaction and every block.
`fixture` reads a file, `feed` turns it into webhooks, `play` runs it, `report` prints the rows.
"""

from __future__ import annotations

from workers.replay.report import run

__all__ = ["run"]
