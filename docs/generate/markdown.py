"""The few forms of Markdown that the generated pages are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def page(title: str, source: str, *blocks: str) -> str:
    """A whole page that says where it comes from."""
    banner = f"<!-- Written by `make docs` from {source}. Change that, not this page. -->"
    return "\n\n".join([banner, f"# {title}", *(block for block in blocks if block)]) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; nothing when it has no row."""
    lines = [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}", *lines])


def code(text: object) -> str:
    """In type of fixed width; nothing for nothing."""
    return f"`{text}`" if str(text) else ""


def fenced(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def sentence(text: str) -> str:
    """One line of what a docstring spreads over several."""
    return " ".join(text.split())


def _cell(text: str) -> str:
    return sentence(text).replace("|", "\\|") or " "
