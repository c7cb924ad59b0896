"""Facts to JSON and back: one codec for the docket, the case, the outbox and the signer.

Byte strings are hex, txids and block hashes display-order hex, outpoints `txid:vout`.

While versions work side by side, an older one meets fields that only the newer one knows
(docs/decisions/0035-fields-of-a-newer-version.md). Who only reads goes on without them (`decode`);
who stores the record again, or acts on it for good, must not lose them (`decode_whole`).
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.errors import LawError
from contractcourt.units import BlockHash, HexBytes, Txid

T = TypeVar("T")

#: Types with a written form of their own: `str()` writes it, `.parse()` reads it.
_WRITTEN = (HexBytes, Txid, BlockHash, OutPoint)


class MalformedRecord(LawError):
    """This JSON is not a record of the kind asked for."""


class NewerRecord(MalformedRecord):
    """This record says more than this version can understand: a newer one wrote it."""


def _encode_hook(value: Any) -> Any:
    if isinstance(value, _WRITTEN):
        return str(value)
    raise NotImplementedError(f"no JSON form for {type(value).__name__}")


def _decode_hook(kind: type, value: Any) -> Any:
    if not issubclass(kind, _WRITTEN):
        raise NotImplementedError(f"no reader for {kind.__name__}")
    if not isinstance(value, str):
        # What says where in the record it stands.
        raise TypeError(f"a {kind.__name__} is written as text")
    return kind.parse(value)


#: What msgspec says of a field that a Record lacks.
_UNKNOWN_FIELD = "contains unknown field"
_encoder = msgspec.json.Encoder(enc_hook=_encode_hook, order="deterministic")


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """Made once for each kind: taking a union apart costs many times what reading it does."""
    return msgspec.json.Decoder(kind, dec_hook=_decode_hook)


def encode(record: Any) -> bytes:
    """The JSON bytes of a law record; equal records give equal bytes."""
    return _encoder.encode(record)


def to_builtins(record: Any) -> Any:
    """The same as dicts, lists and strings, for a page or a log."""
    return msgspec.to_builtins(record, enc_hook=_encode_hook)


def decode(raw: bytes | str, kind: type[T]) -> T:
    """Read a record of `kind` (a Struct or a union), without what only a newer version knows.

    Raises MalformedRecord when it is none.
    """
    return _decode(raw, kind)[0]


def decode_whole(raw: bytes | str, kind: type[T]) -> T:
    """`decode`, but raises NewerRecord where something would be lost.

    An unknown field that is empty (null, false, zero, or without anything in it) is none: a new
    field says so what was before it.
    """
    read, lost = _decode(raw, kind)
    if lost:
        raise NewerRecord(f"a newer version wrote what this one does not know: {', '.join(lost)}")
    return read


def _decode(raw: bytes | str, kind: type[T]) -> tuple[T, list[str]]:
    """The record, and the names of what a newer version said and this one can't read."""
    try:
        return cast(T, _decoder(cast(Any, kind)).decode(raw)), []
    except (msgspec.MsgspecError, ValueError) as error:
        if _UNKNOWN_FIELD not in str(error):
            raise MalformedRecord(str(error)) from error
    lost: set[str] = set()
    try:
        known = _known_part(msgspec.json.decode(raw), inspect.type_info(kind), lost)
    except msgspec.DecodeError as error:
        raise MalformedRecord(str(error)) from error
    return from_builtins(known, kind), sorted(lost)


def _known_part(value: Any, kind: inspect.Type, lost: set[str]) -> Any:
    """`value` without unknown fields; the names of those that say something go to `lost`."""
    match kind:
        case inspect.UnionType():
            for one in kind.types:
                if _may_be(value, one):
                    return _known_part(value, one, lost)
        case inspect.StructType() if isinstance(value, dict):
            fields: dict[str, inspect.Type] = {f.encode_name: f.type for f in kind.fields}
            if kind.tag_field is not None:
                fields[kind.tag_field] = inspect.StrType()
            lost.update(name for name, said in value.items() if name not in fields and _says(said))
            return {
                name: _known_part(said, fields[name], lost)
                for name, said in value.items()
                if name in fields
            }
        case inspect.VarTupleType() | inspect.ListType() if isinstance(value, list):
            return [_known_part(one, kind.item_type, lost) for one in value]
    return value


def _may_be(value: Any, kind: inspect.Type) -> bool:
    """Of a union: whether `value` is to be looked into as this one."""
    if isinstance(kind, inspect.StructType) and isinstance(value, dict):
        return kind.tag_field is None or value.get(kind.tag_field) == kind.tag
    return isinstance(kind, inspect.VarTupleType | inspect.ListType) and isinstance(value, list)


def _says(value: Any) -> bool:
    return any(map(_says, value.values())) if isinstance(value, dict) else bool(value)


def from_builtins(value: Any, kind: type[T]) -> T:
    """Read a record of `kind` from parsed JSON. Raises MalformedRecord when it is none."""
    try:
        return msgspec.convert(value, type=kind, dec_hook=_decode_hook)
    except (msgspec.MsgspecError, ValueError) as error:
        raise MalformedRecord(str(error)) from error
