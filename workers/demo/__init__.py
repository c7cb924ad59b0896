"""The story, `contractcourt demo`: channels closed in every way, on real parts, in one go.

`acts` says what happens to each channel, `stage` plays them all on one chain, `board` shows it.
"""

from __future__ import annotations

from workers.demo.stage import run

__all__ = ["run"]
