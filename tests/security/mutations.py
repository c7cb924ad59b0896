"""Valid input, spoiled the way an attacker would: by bytes, and by what the bytes mean."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

from contractcourt.bitcoin.transaction import compact_size

#: Lengths and counts in every width: the shortest form, needless ones, and far beyond any input.
SIZES = [
    *(compact_size(n) for n in (0, 1, 2, 0xFC, 0xFD, 0xFFFF, 0x10000, 2**32, 2**63, 2**64 - 1)),
    *(b"\xfd\x01\x00", b"\xfe\x01\x00\x00\x00", b"\xff\x01" + bytes(7), b"\x00\x01", b"\x00\x02"),
]
#: JSON that few readers expect where a node's values stand.
ODD = [
    *("-Infinity", "NaN", "1e999", "-0", "1.0", "-1", "0", "1", "true", "null", "{}", "[]", '""'),
    *(str(n) for n in (2**16, 2**31, 2**32, 2**48 - 1, 2**48, 2**63, 2**64 - 1, 2**64)),
    *("2100000000000000", "2100000000000001", "9" * 400, "1." + "0" * 5000, r'"\u0000"'),
    *("[" * 150 + "]" * 150, '{"a":' * 150 + "1" + "}" * 150, '"' + "00" * 300 + '"'),
    *('"\u202e\u00a0"', r'"\u00e9"', '"' + "0" * 66 + '"', '"' + "0" * 64 + ':0"', '"02"'),
]
#: JSON for some readers, for others none.
BROKEN = [
    *("01", "0x10", "+1", "9" * 5000, r'"\ud800"', r'"\udc00\ud800"', '"\\', "'", "tru", "nul"),
    *("[" * 5000, '{"a":' * 300 + "1" + "}" * 300, '"\ud800"', '"\x00"', "/**/1", "1,"),
]
_TOKEN, _TWIN = "@token@", "@twin@"


@st.composite
def damaged(draw: st.DrawFn, sources: Sequence[bytes]) -> bytes:
    """One of `sources` after up to three cuts, flips, splices and false lengths."""
    raw = bytearray(draw(st.sampled_from(sources)))
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3]))):
        at = draw(st.integers(0, len(raw)))
        end = min(len(raw), at + draw(st.integers(0, 50)))
        match draw(st.sampled_from([0, 1, 2, 3, 3, 3, 4, 5, 6])):
            case 0:
                del raw[at:]
            case 1:
                del raw[at:end]
            case 2:
                raw[at:at] = raw[at:end]
            case 3 if at < len(raw):
                raw[at] ^= 1 << draw(st.integers(0, 7))
            case 4:
                raw[at : at + 1] = draw(st.sampled_from(SIZES))
            case 5:
                other = draw(st.sampled_from(sources))
                start = draw(st.integers(0, len(other)))
                raw[at:end] = other[start : start + draw(st.integers(0, 200))]
            case _:
                raw[at:at] = draw(st.binary(max_size=20))
    return bytes(raw)


@st.composite
def spoiled_json(draw: st.DrawFn, sources: Sequence[dict[str, Any]]) -> bytes:
    """One of `sources` as JSON, after up to three changes to what it says."""
    told = copy.deepcopy(draw(st.sampled_from(sources)))
    token, twin = draw(st.sampled_from(ODD if draw(st.integers(0, 4)) else BROKEN)), ""
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        holder, key = draw(st.sampled_from(list(places(told))))
        value = holder[key]
        match draw(st.integers(0, 6)):
            case 0:
                holder[key] = _TOKEN
            case 1:
                del holder[key]
            case 2 if isinstance(holder, dict):
                twin = key
                holder[_TWIN] = draw(st.sampled_from([value, _TOKEN, None]))
            case 3 if isinstance(holder, dict):
                holder[draw(st.text(max_size=5))] = value
            case 4 if isinstance(value, int):
                holder[key] = value + draw(st.integers(-2, 2))
            case 4 if isinstance(value, str):
                holder[key] = _other_text(draw, value)
            case 5 if isinstance(value, list):
                value *= draw(st.integers(0, 3))
            case _:
                other, place = draw(st.sampled_from(list(places(told))))
                holder[key] = copy.deepcopy(other[place])
        if not told:
            break
    text = json.dumps(told, ensure_ascii=draw(st.booleans()))
    text = text.replace(json.dumps(_TOKEN), token).replace(json.dumps(_TWIN), json.dumps(twin))
    return text.encode("utf-8", "surrogatepass")


def _other_text(draw: st.DrawFn, text: str) -> str:
    at = draw(st.integers(0, len(text)))
    return (
        text[:at]
        + draw(st.sampled_from(["", "0", "f", "F", " ", "\n", "é", "٣", "g", ":"]))
        + (text[at + draw(st.integers(0, 2)) :])
    )


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) inside a JSON value."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])
