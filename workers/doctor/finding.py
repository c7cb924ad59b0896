"""One thing that the doctor looked at, in plain words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

#: How long a part may take to answer. Seconds.
TIMEOUT_SECONDS = 5
UP_HINT = "or start everything with `contractcourt up`"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `advice` says what to do when it is wrong."""

    part: str
    is_wrong: bool
    words: str
    advice: str = ""

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return asdict(self)


def fine(part: str, words: str) -> Finding:
    """This part is as it should be."""
    return Finding(part, is_wrong=False, words=words)


def wrong(part: str, words: str, advice: str = "") -> Finding:
    """This part is not as it should be."""
    return Finding(part, is_wrong=True, words=words, advice=advice)


def missing(part: str, variable: str) -> Finding:
    """Nobody told where this part is."""
    return wrong(part, f"{variable} is not set", f"set it, {UP_HINT} and pass --data-dir")


def shown(url: str) -> str:
    """Host and port of a URL, without the password that may stand in it."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}"
