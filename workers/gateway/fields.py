"""The field types of what a node sends: each reads one JSON value or says what is wrong with it.

A byte string is lower- or upper-case hex of an exact length; a point must lie on the curve; an
amount must be one that Bitcoin can have. The messages name the reason, never echo the value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bolt3.points import parse_point
from contractcourt.errors import InvalidPoint
from contractcourt.units import (
    HexBytes,
    PaymentHash,
    PublicKey,
    Script,
    Secret,
    Signature,
    Txid,
)

T = TypeVar("T", bound=HexBytes)

MAX_SAT = 21_000_000 * 100_000_000
#: A scriptPubKey longer than this can never be spent (consensus, MAX_SCRIPT_SIZE).
_MAX_SCRIPT_BYTES = 10_000
#: A transaction of 400,000 weight units, the most that is relayed.
_MAX_TX_BYTES = 400_000
_MOST_REASON_CHARACTERS = 500
#: What `is_reason`.
A_REASON = f"one line of up to {_MOST_REASON_CHARACTERS} characters"


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "{what} is a string", {"what": what})
    return value


def _hex_of(kind: type[T], size: int) -> Callable[[Any], T]:
    what = f"{size} bytes as {2 * size} hex digits"

    def read(value: Any) -> T:
        text = _text(value, what)
        if len(text) != 2 * size:
            raise PydanticCustomError(
                "hex_length",
                "must be {what}, not {got} characters",
                {"what": what, "got": len(text)},
            )
        return _parse_hex(kind, text)

    return read


def _hex_up_to(kind: type[T], limit: int) -> Callable[[Any], T]:
    def read(value: Any) -> T:
        text = _text(value, "hex")
        if not 0 < len(text) <= 2 * limit:
            raise PydanticCustomError(
                "hex_length", "must be hex of 1 to {limit} bytes", {"limit": limit}
            )
        return _parse_hex(kind, text)

    return read


def _parse_hex(kind: type[T], text: str) -> T:
    try:
        return kind.parse(text)
    except ValueError as error:
        raise PydanticCustomError("hex", "must be hex of whole bytes") from error


def _point(value: Any) -> PublicKey:
    key = _hex_of(PublicKey, 33)(value)
    try:
        return parse_point(key)
    except InvalidPoint as error:
        raise PydanticCustomError(
            "invalid_point", "is not a compressed point on secp256k1"
        ) from error


def _outpoint(value: Any) -> OutPoint:
    try:
        return OutPoint.parse(_text(value, "an outpoint"))
    except ValueError as error:
        raise PydanticCustomError(
            "outpoint", "must be written txid:vout, the txid in display order"
        ) from error


def _txid(value: Any) -> Txid:
    try:
        return Txid.parse(_text(value, "a txid"))
    except ValueError as error:
        raise PydanticCustomError(
            "txid", "must be a txid: 64 hex digits in display order"
        ) from error


def _hex_schema(size: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^[0-9a-fA-F]{{{2 * size}}}$"})


def _printable(text: str) -> str:
    # Postgres keeps no NUL, and a log line or a page should never meet a control character.
    if not all(c.isprintable() for c in text):
        raise PydanticCustomError("control_characters", "must hold no control characters")
    return text


def is_reason(text: str) -> bool:
    """Whether it may stand in the docket for ever, and on pages."""
    return len(text) <= _MOST_REASON_CHARACTERS and text.isprintable()


PointField = Annotated[PublicKey, PlainValidator(_point), _hex_schema(33)]
SignatureField = Annotated[Signature, PlainValidator(_hex_of(Signature, 64)), _hex_schema(64)]
SecretField = Annotated[Secret, PlainValidator(_hex_of(Secret, 32)), _hex_schema(32)]
PaymentHashField = Annotated[PaymentHash, PlainValidator(_hex_of(PaymentHash, 32)), _hex_schema(32)]
ScriptField = Annotated[
    Script,
    PlainValidator(_hex_up_to(Script, _MAX_SCRIPT_BYTES)),
    WithJsonSchema({"type": "string", "pattern": "^([0-9a-fA-F]{2})+$"}),
]
TransactionField = Annotated[
    HexBytes,
    PlainValidator(_hex_up_to(HexBytes, _MAX_TX_BYTES)),
    WithJsonSchema({"type": "string", "pattern": "^([0-9a-fA-F]{2})+$"}),
]
OutPointField = Annotated[
    OutPoint,
    PlainValidator(_outpoint),
    WithJsonSchema({"type": "string", "pattern": "^[0-9a-fA-F]{64}:[0-9]{1,10}$"}),
]
TxidField = Annotated[
    Txid, PlainValidator(_txid), WithJsonSchema({"type": "string", "pattern": "^[0-9a-fA-F]{64}$"})
]

SatoshiField = Annotated[int, Field(ge=0, le=MAX_SAT)]
MillisatoshiField = Annotated[int, Field(ge=0, le=MAX_SAT * 1000)]
#: BOLT 3 puts the number into 48 bits of locktime and sequence.
CommitmentNumberField = Annotated[int, Field(ge=0, le=2**48 - 1)]
FeerateField = Annotated[int, Field(ge=0, le=2**32 - 1)]
#: Above this a locktime is a time, not a height.
ExpiryField = Annotated[int, Field(gt=0, lt=500_000_000)]
ReasonField = Annotated[str, Field(max_length=_MOST_REASON_CHARACTERS), AfterValidator(_printable)]
