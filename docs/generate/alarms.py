"""`how-to/alarms.md` is written by hand; here is only whether it has each kind of alarm."""

from __future__ import annotations

from contractcourt.alarms import AlarmKind

PAGE = "how-to/alarms.md"
_SECTION = "### "


def gaps(text: str) -> list[str]:
    """What the page lacks, or has too much, in words."""
    lines = text.splitlines()
    sections = {line.removeprefix(_SECTION) for line in lines if line.startswith(_SECTION)}
    kinds = {kind.value for kind in AlarmKind}
    return [
        *(f"docs/{PAGE} lacks a section '### {kind}'" for kind in sorted(kinds - sections)),
        *(f"docs/{PAGE}: there is no alarm {kind}" for kind in sorted(sections - kinds)),
    ]
