"""What becomes of records that a newer version wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import inspect

from contractcourt.advance import advance, open_case
from contractcourt.case import Case
from contractcourt.channel import Direction
from contractcourt.codec import MalformedRecord, NewerRecord, decode, decode_whole, encode
from contractcourt.events import ChannelOpened, ChannelUpdated, Event
from tests.workers.gateway.serving import channel_of

_SIM = channel_of("codec")
_UPDATED = ChannelUpdated(
    (_SIM.first_update(), *_SIM.whole_move(0, _SIM.htlc(1, Direction.OFFERED, 20_000_000, 700)))
)
_CASE = advance(open_case(ChannelOpened(_SIM.channel)).case, _UPDATED).case


def _structs(kind: inspect.Type) -> Iterator[inspect.StructType]:
    match kind:
        case inspect.StructType():
            yield kind
            for field in kind.fields:
                yield from _structs(field.type)
        case inspect.UnionType():
            for one in kind.types:
                yield from _structs(one)
        case inspect.VarTupleType() | inspect.ListType():
            yield from _structs(kind.item_type)
        case inspect.TupleType():
            assert not any(list(_structs(one)) for one in kind.item_types), "not looked into"


@pytest.mark.parametrize("kind", [Case, Event])
def test_every_part_of_a_case_and_of_an_event_forbids_unknown_fields(kind: Any) -> None:
    found = {one.cls for one in _structs(inspect.type_info(kind))}
    assert len(found) > 10
    assert {one for one in found if not one.__struct_config__.forbid_unknown_fields} == set()


@pytest.mark.parametrize(
    ("record", "kind", "where"),
    [
        (_CASE, Case, '"path":'),
        (_CASE, Case, '"payment_hash":'),
        (_UPDATED, Event, '"forgets":'),
        (_UPDATED, Event, '"revoked_secret":'),
        (_UPDATED, Event, '"payment_hash":'),
    ],
)
@pytest.mark.parametrize(
    ("said", "lost"),
    [("null", False), ("{}", False), ('{"a":[],"b":0}', False), ("true", True), ('{"a":1}', True)],
)
def test_an_unknown_field_is_lost_when_it_says_something(
    record: Any, kind: Any, where: str, said: str, lost: bool
) -> None:
    written = encode(record).decode()
    assert where in written
    newer = written.replace(where, f'"new_fact":{said},{where}')
    assert decode(newer, kind) == record
    if lost:
        with pytest.raises(NewerRecord, match="new_fact"):
            decode_whole(newer, kind)
    else:
        assert decode_whole(newer, kind) == record


@pytest.mark.parametrize("told", ["5", "null", "true", "[]", "{}", '"5"', '"zz"'])
@pytest.mark.parametrize("field", ["payment_hash", "txid", "funding_outpoint", "sweep_script"])
def test_what_is_written_as_text_is_refused_as_anything_else(field: str, told: str) -> None:
    written = re.sub(rf'"{field}":"[^"]*"', f'"{field}":{told}', encode(_CASE).decode())
    assert written != encode(_CASE).decode()
    with pytest.raises(MalformedRecord, match=field):
        decode(written, Case)
