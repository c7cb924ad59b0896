"""`reference/configuration.md`: every setting, out of `tasks.settings.Settings`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from msgspec.structs import fields
from pydantic.fields import FieldInfo

from contractcourt.policy import Policy
from docs.generate.markdown import code, page, sentence, table
from tasks.endpoints_file import ENDPOINT_KEYS
from tasks.settings import PREFIX, Settings

_SECTION = re.compile(r"    # -- ([^.]+?)(?: --|\..*)")
_FIELD = re.compile(r"    (\w+): ")
_LIMITS = {
    "ge": "at least {:g}",
    "gt": "more than {:g}",
    "le": "at most {:g}",
    "lt": "less than {:g}",
    "min_length": "at least {} characters",
    "max_length": "at most {} characters",
}

_INTRODUCTION = f"""\
Everything is told by environment variables. What none of them gives is taken from the
`endpoints.json` that `contractcourt up` writes into its data folder. An unknown `{PREFIX}*`
variable stops every command, so that a typing mistake in a deadline is not lost; an error never
shows the value it complains about. Times are seconds, sizes are bytes."""

_POLICY = """\
What `contractcourt node policy NAME --set FIELD=NUMBER` changes, for one node's open channels and
those to come. Deltas and depths are blocks, feerates satoshi for 1000 units of weight; budgets are
percent of what a fee is to save, and no fee ever passes its budget."""
_POLICY_COLUMNS = ("field", "meaning", "default", "values")
#: A field of the policy with the words above it.
_POLICY_FIELD = re.compile(r"((?:    #: .*\n)+)    (\w+): ")


class Undescribed(Exception):
    """A setting has no words; the message names it and says where they go."""


def write() -> str:
    """The page. Raises Undescribed."""
    blocks = [_INTRODUCTION]
    for section, names in _sections():
        rows = (_row(name, Settings.model_fields[name]) for name in names)
        blocks += [
            f"## {section}",
            table(("variable", "meaning", "default", "values"), rows),
        ]
    given = (
        (code(key), code(variable(field, Settings.model_fields[field])))
        for field, key in ENDPOINT_KEYS.items()
    )
    blocks += ["## endpoints.json", table(("key", "gives"), given)]
    blocks += ["## A node's policy", _POLICY, table(_POLICY_COLUMNS, _policy_rows())]
    return page("Configuration", "`tasks/settings.py` and `contractcourt/policy.py`", *blocks)


def variable(name: str, field: FieldInfo) -> str:
    """The environment variable of a field."""
    alias = field.validation_alias
    return alias if isinstance(alias, str) else f"{PREFIX}{name.upper()}"


def _sections() -> Iterator[tuple[str, list[str]]]:
    """The fields under the headings that they have in the source."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in inspect.getsource(Settings).splitlines():
        if heading := _SECTION.match(line):
            section = heading[1]
        elif (field := _FIELD.match(line)) and field[1] in Settings.model_fields:
            found.setdefault(section, []).append(field[1])
    yield from found.items()


def _policy_rows() -> Iterator[tuple[str, str, str, str]]:
    words = {name: text for text, name in _POLICY_FIELD.findall(inspect.getsource(Policy))}
    for field in fields(Policy):
        if field.name not in words:
            raise Undescribed(
                f"{field.name} has no words: write them above it in contractcourt/policy.py"
            )
        meaning = " ".join(
            line.strip().removeprefix("#: ") for line in words[field.name].splitlines()
        )
        yield (
            code(field.name),
            sentence(meaning),
            code(field.default),
            ", ".join(_limits(get_args(field.type))),
        )


def _row(name: str, field: FieldInfo) -> tuple[str, str, str, str]:
    if not field.description:
        raise Undescribed(
            f"setting {name} has no words: write a string below it in tasks/settings.py"
        )
    return (
        code(variable(name, field)),
        sentence(field.description),
        _default(field.default),
        ", ".join([*_choices(field.annotation), *_limits(field.metadata)]),
    )


def _default(value: Any) -> str:
    match value:
        case None:
            return "unset"
        case bool():
            return code(str(value).lower())
        case float() if value.is_integer():
            return code(int(value))
        case _:
            return code(value)


def _choices(annotation: Any) -> list[str]:
    match get_origin(annotation):
        case origin if origin is Literal:
            return [code(choice) for choice in get_args(annotation)]
        case origin if origin in (Union, UnionType):
            inner = [part for part in get_args(annotation) if part is not NoneType]
            return [words for part in inner for words in _choices(part)]
        case _:
            return [code("true"), code("false")] if annotation is bool else []


def _limits(constraints: Iterable[Any]) -> list[str]:
    return [
        words.format(getattr(constraint, name))
        for constraint in constraints
        for name, words in _LIMITS.items()
        if getattr(constraint, name, None) is not None
    ]
