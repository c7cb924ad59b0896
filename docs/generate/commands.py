"""`reference/cli.md`: every command with its arguments and options, out of the CLI itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import Enum
from typing import Any

import typer.main

from docs.generate.markdown import code, fenced, page, sentence, table
from workers.cli.application import application
from workers.cli.exits import MEANINGS

_INTRODUCTION = """\
`contractcourt COMMAND --help` says the same in the terminal. Looking needs Postgres alone and works
while every process of the court is down. `contractcourt --install-completion` teaches your shell
the commands, and the channel points and nodes of your court; `contractcourt --version` says which
version this is."""


def write() -> str:
    """The page."""
    app: Any = typer.main.get_command(application([]))
    codes = ((str(one.value), sentence(words)) for one, words in MEANINGS.items())
    blocks = [_INTRODUCTION, "## Exit codes", table(("code", "meaning"), codes)]
    heading = None
    for path, command in sorted(_leaves(app), key=lambda found: _panel_order(app, found[0])):
        panel = _panel(app, path)
        if panel != heading:
            heading = panel
            blocks.append(f"## {panel}")
        blocks += _section(path, command, app.commands[path[0]].epilog)
    return page("The command line", "`workers/cli`", *blocks)


def _leaves(group: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command with the words that call it; a group only where it does something itself."""
    for name, command in group.commands.items():
        path = (*above, name)
        if not hasattr(command, "commands"):
            yield path, command
            continue
        if command.invoke_without_command:
            yield path, command
        yield from _leaves(command, path)


def _panel(app: Any, path: tuple[str, ...]) -> str:
    return app.commands[path[0]].rich_help_panel or "For the machinery"


def _panel_order(app: Any, path: tuple[str, ...]) -> int:
    """The panels in the order of `--help`; the commands keep theirs."""
    panels = [_panel(app, (name,)) for name in app.commands if not app.commands[name].hidden]
    panel = _panel(app, path)
    return panels.index(panel) if panel in panels else len(panels)


def _section(path: tuple[str, ...], command: Any, epilog: str | None) -> list[str]:
    shown = [one for one in command.params if not one.hidden]
    arguments = [one for one in shown if not one.opts[0].startswith("-")]
    options = [one for one in shown if one.opts[0].startswith("-")]
    usage = " ".join(
        ["contractcourt", *path, *(_metavar(one) for one in arguments)]
        + (["[OPTIONS]"] if options else [])
    )
    return [
        f"### contractcourt {' '.join(path)}",
        inspect.cleandoc(command.help or ""),
        fenced("text", usage),
        table(
            ("", "meaning", "default"),
            [_row(one) for one in [*arguments, *options]],
        ),
        _examples(path, epilog),
    ]


def _examples(path: tuple[str, ...], epilog: str | None) -> str:
    """Those of this command, among those of its group."""
    calls = f"contractcourt {' '.join(path)}"
    lines = [line for line in (epilog or "").splitlines() if f"{line} ".startswith(f"{calls} ")]
    return fenced("text", "\n".join(lines)) if lines else ""


def _row(one: Any) -> tuple[str, str, str]:
    if one.opts[0].startswith("-"):
        value = "" if one.is_flag else f" {one.metavar or _type(one)}"
        name = ", ".join(code(f"{option}{value}") for option in one.opts + one.secondary_opts)
    else:
        name = code(_metavar(one))
    words = sentence(one.help or "")
    if one.envvar:
        words = f"{words} Variable: {code(one.envvar)}."
    if one.required:
        words = f"{words} Required."
    return name, words, _default(one)


def _metavar(one: Any) -> str:
    return str(one.metavar or one.name.upper())


def _type(one: Any) -> str:
    annotation = one.type_descriptor.annotation
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "|".join(str(choice.value) for choice in annotation)
    return {int: "N", float: "N"}.get(annotation, "TEXT" if annotation is str else "PATH")


def _default(one: Any) -> str:
    if one.default in (None, "", False) or one.is_flag:
        return ""
    return code(one.default)
