"""Facts to JSON and back: one codec for the docket, the case, the outbox and the signer.

Byte strings are hex, txids and block hashes display-order hex, outpoints `txid:vout`.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.errors import LawError
from contractcourt.units import BlockHash, HexBytes, Txid

T = TypeVar("T")

#: Types with a written form of their own: `str()` writes it, `.parse()` reads it.
_WRITTEN = (HexBytes, Txid, BlockHash, OutPoint)


class MalformedRecord(LawError):
    """This JSON is not a record of the kind asked for."""


def _encode_hook(value: Any) -> Any:
    if isinstance(value, _WRITTEN):
        return str(value)
    raise NotImplementedError(f"no JSON form for {type(value).__name__}")


def _decode_hook(kind: type, value: Any) -> Any:
    if issubclass(kind, _WRITTEN) and isinstance(value, str):
        return kind.parse(value)
    raise NotImplementedError(f"no reader for {kind.__name__}")


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
    """Read a record of `kind` (a Struct or a union). Raises MalformedRecord when it is none."""
    try:
        read = _decoder(cast(Any, kind)).decode(raw)
    except (msgspec.MsgspecError, ValueError) as error:
        raise MalformedRecord(str(error)) from error
    return cast(T, read)


def from_builtins(value: Any, kind: type[T]) -> T:
    """Read a record of `kind` from parsed JSON. Raises MalformedRecord when it is none."""
    try:
        return msgspec.convert(value, type=kind, dec_hook=_decode_hook)
    except (msgspec.MsgspecError, ValueError) as error:
        raise MalformedRecord(str(error)) from error
