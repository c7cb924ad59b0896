"""What the court sends, read from the source of the law and of `storage/letters.py`.

The fields of a type are the arguments of the law's `notify(...)` calls for it, those of an alarm
are what its letter is made of. A field in only some of the calls is sent where it applies.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import contractcourt
import storage
from storage import letters

_ALARM_TYPE = re.compile(r"'(alarm\.\w+)'")
_LAW = Path(contractcourt.__file__).parent
#: `Hearing.notify` puts this into the data of every type.
CHANNEL_POINT = "channel_point"


class Unreadable(Exception):
    """The source says something in a way that is not read here; the message says where."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One field. `values`: the words it may be, where they are all written out; else empty."""

    name: str
    always: bool
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Call:
    event_type: str
    #: Field -> the words it may be.
    always: Mapping[str, frozenset[str]]
    sometimes: frozenset[str]


def to_node() -> dict[str, list[Sent]]:
    """Event type -> the fields of its data. Raises Unreadable."""
    found: dict[str, list[_Call]] = {}
    for source in sorted(_LAW.rglob("*.py")):
        for call in calls(source.read_text()):
            found.setdefault(call.event_type, []).append(call)
    return {event_type: _merged(found[event_type]) for event_type in sorted(found)}


def to_operator() -> dict[str, list[Sent]]:
    """The same of alarms: the triggers name the types, `storage.letters` makes the data."""
    migrations = (Path(storage.__file__).parent / "migrations").rglob("*.py")
    types = {found for path in migrations for found in _ALARM_TYPE.findall(path.read_text())}
    tree = ast.parse(Path(letters.__file__).read_text())
    [made] = [
        node.value
        for function in _functions(tree)
        if function.name == "_data"
        for node in ast.walk(function)
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Dict)
    ]
    fields = [Sent(name, True, ()) for name in _keys(made)]
    return dict.fromkeys(sorted(types, reverse=True), fields)


def calls(source: str) -> Iterator[_Call]:
    """The `notify` calls of a module, one for each type a call may be of. Raises Unreadable."""
    tree = ast.parse(source)
    for function in _functions(tree):
        for call in ast.walk(function):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            if call.func.attr == "notify":
                yield from _read(tree, function, call)


def _read(tree: ast.Module, function: ast.FunctionDef, call: ast.Call) -> Iterator[_Call]:
    types = _words(tree, function, call.args[0])
    if not types:
        raise Unreadable(f"notify in {function.name}: its event type is not written out")
    always = {one.arg: _words(tree, function, one.value) for one in call.keywords if one.arg}
    spread = [one.value for one in call.keywords if one.arg is None]
    sometimes = frozenset(key for one in spread for key in _spread_keys(tree, function, one))
    for event_type in sorted(types):
        yield _Call(event_type, always, sometimes)


def _words(tree: ast.Module, function: ast.FunctionDef, value: ast.expr) -> frozenset[str]:
    """A text written out here, or by every caller of a function of this module; else nothing."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return frozenset({value.value})
    names = [argument.arg for argument in function.args.args]
    if not isinstance(value, ast.Name) or value.id not in names:
        return frozenset()
    passed = list(_passed(tree, function.name, value.id, names.index(value.id)))
    texts = [one.value for one in passed if isinstance(one, ast.Constant)]
    if len(texts) < len(passed):
        return frozenset()
    return frozenset(text for text in texts if isinstance(text, str))


def _passed(tree: ast.Module, function: str, name: str, place: int) -> Iterator[ast.expr]:
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            continue
        if call.func.id == function:
            yield from (one.value for one in call.keywords if one.arg == name)
            yield from call.args[place : place + 1]


def _spread_keys(tree: ast.Module, function: ast.FunctionDef, value: ast.expr) -> set[str]:
    """The keys of every dict that the module writes out under the name that is spread."""
    if not isinstance(value, ast.Attribute):
        raise Unreadable(f"notify in {function.name}: what is spread into it has no name")
    keys: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case (
                ast.keyword(arg=name, value=ast.Dict() as made)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.Dict() as made)
                | ast.AugAssign(target=ast.Name(id=name), value=ast.Dict() as made)
            ) if name == value.attr:
                keys.update(_keys(made))
    if not keys:
        raise Unreadable(f"notify in {function.name}: no keys of {value.attr} are written out")
    return keys


def _keys(made: ast.Dict) -> list[str]:
    return [key.value for key in made.keys if isinstance(key, ast.Constant)]  # type: ignore[misc]


def _merged(found: Iterable[_Call]) -> list[Sent]:
    """The fields of all calls of one type, in the order they are written."""
    found = list(found)
    names = dict.fromkeys(
        name for call in found for name in (*call.always, *sorted(call.sometimes))
    )
    merged = [Sent(CHANNEL_POINT, True, ())]
    for name in names:
        said = [call.always[name] for call in found if name in call.always]
        values = sorted(frozenset().union(*said)) if said and all(said) else []
        merged.append(Sent(name, len(said) == len(found), tuple(values)))
    return merged


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
