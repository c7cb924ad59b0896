"""JSON that every reader takes for the same: no name twice in an object, and only numbers of JSON.

Of `htlcs` that are told twice some readers take the first and some the last: a half would be lost.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, NoReturn

from workers.gateway.problems import Problem

_LONGEST_NAME = 64
_NAME = re.compile(r"[A-Za-z_]+")


def read(body: bytes) -> Any:
    """The JSON of a body that `parse_webhook` has read. Raises Problem 400."""
    return json.loads(body, object_pairs_hook=_each_name_once, parse_constant=_no_number)


def shown_name(step: int | str) -> str:
    """A place in the sender's JSON as a refusal says it.

    It may be a misspelled name, of any length; what is no name at all (a preimage in the wrong
    place) is not repeated, as a refusal goes into a log too.
    """
    if isinstance(step, int) or _NAME.fullmatch(step):
        return str(step)[:_LONGEST_NAME]
    return "(no name)"


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise Problem(
            "malformed-json", f"{shown_name(twice)} stands twice in one object: tell it once"
        )
    return found


def _no_number(text: str) -> NoReturn:
    raise Problem("malformed-json", f"the body is not JSON: {text} is no number")
