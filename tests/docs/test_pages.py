"""The pages that people wrote: every link leads somewhere, every command and setting exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from docs.generate.configuration import variable
from tasks.settings import Settings
from workers.cli.application import application

PROJECT = Path(__file__).parent.parent.parent
PAGES = sorted(
    path
    for path in [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")]
    if path.name != "users_ask.md"  # a list of other projects' issues
)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.M)
_CALL = re.compile(r"^ *(?:\$ )?(?:\.venv/bin/)?contractcourt +([a-z].*)$", re.M)
_VARIABLE = re.compile(r"\bCONTRACTCOURT_[A-Z_]+[A-Z]\b")


def _ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(PROJECT)) for path in paths]


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings of a page."""
    made: set[str] = set()
    for heading in _HEADING.findall(page.read_text()):
        plain = re.sub(r"[^\w\- ]", "", heading.lower()).strip()
        made.add(plain.replace(" ", "-"))
    return made


def links(page: Path) -> Iterator[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for found in _LINK.finditer(text):
        target = found[1] or found[2]
        if not re.match(r"[a-z]+:", target):
            yield target


@pytest.mark.parametrize("page", PAGES, ids=_ids(PAGES))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = page if not name else (page.parent / name).resolve()
        assert target.exists(), f"{link} is not there"
        assert target.is_relative_to(PROJECT), f"{link} leaves the project"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [PROJECT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        for link in links(page):
            target = (page.parent / link.partition("#")[0]).resolve()
            waiting += sorted(target.glob("*.md")) if target.is_dir() else [target]
    assert set(PAGES) - {PROJECT / "CHANGELOG.md"} <= reached | {PROJECT / "CONTRIBUTING.md"}


@pytest.mark.parametrize("page", PAGES, ids=_ids(PAGES))
def test_every_command_and_option_on_a_page_exists(page: Path) -> None:
    app: object = typer.main.get_command(application([]))
    for call in _CALL.findall(page.read_text()):
        words = shlex.split(re.split(r" #|[|>]|&&|\$\(", call)[0], posix=False)
        command = app
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
        assert command is not app, f"there is no command {call!r}"
        options = {name for one in command.params for name in one.opts}  # type: ignore[attr-defined]
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used - {"--help"} <= options, call


@pytest.mark.parametrize("page", PAGES, ids=_ids(PAGES))
def test_every_setting_on_a_page_exists(page: Path) -> None:
    known = {variable(name, field) for name, field in Settings.model_fields.items()}
    kubernetes = {"CONTRACTCOURT_SIGNER_PORT"}
    assert set(_VARIABLE.findall(page.read_text())) <= known | kubernetes
