"""The tables of docs/law/ name tests that exist, and a test for every must."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_TABLES = ("bolt5_tests.md", "lnd_scenarios.md")
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
#: A rule's row that says MUST or MUST NOT in one of its cells.
_RULE = re.compile(r"^\| ([A-Z]\d+) \| (?P<cells>.*)\|$", re.M)
_MUST = re.compile(r"(^|[\s|(:])(M|!)(?= )")


def _read(name: str) -> str:
    return (_ROOT / "docs" / "law" / name).read_text()


@pytest.mark.parametrize("table", _TABLES)
def test_every_test_that_a_table_names_is_there(table: str) -> None:
    named = _NAMED.findall(_read(table))
    assert len(named) > 20
    for path, function in named:
        source = (_ROOT / path).read_text()
        assert re.search(rf"^\s*def {function}\(", source, re.M), f"{path}::{function}"


def test_every_must_has_a_test() -> None:
    chapters = _read("bolt5_rules.md").partition("## 2. Watching")[2]
    musts = {
        rule.group(1) for rule in _RULE.finditer(chapters) if _MUST.search(f" {rule['cells']}")
    }
    rows = re.findall(r"^\| ([A-Z]\d+.*?) \|", _read("bolt5_tests.md"), re.M)
    tested = {rule for row in rows for rule in row.split(", ")}
    assert len(musts) > 20
    assert musts <= tested, sorted(musts - tested)
