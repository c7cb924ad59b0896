"""Reads the parameters of a call, refusing wrong ones with Core's numbers and texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chain.devnet import address
from chain.devnet.chainstate import Block, ChainState
from chain.devnet.errors import ErrorCode, RpcError
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.errors import MalformedTransaction
from contractcourt.units import BlockHash, Txid

_TX_DECODE_FAILED = "TX decode failed. Make sure the tx has at least one input."


def hash_bytes(text: Any, name: str) -> bytes:
    """32 bytes in internal order from display-order hex."""
    if not isinstance(text, str):
        raise RpcError(ErrorCode.TYPE_ERROR, f"JSON value of {name} is not of expected type string")
    if len(text) != 64:
        raise RpcError(
            ErrorCode.INVALID_PARAMETER,
            f"{name} must be of length 64 (not {len(text)}, for '{text}')",
        )
    try:
        return bytes.fromhex(text)[::-1]
    except ValueError:
        raise RpcError(
            ErrorCode.INVALID_PARAMETER, f"{name} must be hexadecimal string (not '{text}')"
        ) from None


def txid(text: Any, name: str = "txid") -> Txid:
    return Txid(hash_bytes(text, name))


def outpoint(txid_text: Any, vout: Any) -> OutPoint:
    """An outpoint of `txid` and `vout` as calls name them."""
    whole_number(vout, "vout")
    if not 0 <= vout <= 0xFFFFFFFF:
        raise RpcError(ErrorCode.INVALID_PARAMETER, "Invalid parameter, vout cannot be negative")
    return OutPoint.of(txid(txid_text), vout)


def block(chain: ChainState, text: Any) -> Block:
    """A block of the tree by its hash."""
    found = chain.tree.get(BlockHash(hash_bytes(text, "blockhash")))
    if found is None:
        raise RpcError(ErrorCode.INVALID_ADDRESS_OR_KEY, "Block not found")
    return found


def whole_number(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise RpcError(ErrorCode.TYPE_ERROR, f"JSON value of {name} is not of expected type number")
    return value


def raw_bytes(text: Any, name: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except (TypeError, ValueError):
        raise RpcError(
            ErrorCode.INVALID_PARAMETER, f"{name} must be hexadecimal string (not '{text}')"
        ) from None


def transaction(text: Any) -> Transaction:
    """A transaction in hex."""
    try:
        return Transaction.parse(bytes.fromhex(text))
    except (TypeError, ValueError, MalformedTransaction):
        raise RpcError(ErrorCode.DESERIALIZATION_ERROR, _TX_DECODE_FAILED) from None


def transactions(texts: Iterable[Any]) -> list[Transaction]:
    if not isinstance(texts, list):
        raise RpcError(ErrorCode.TYPE_ERROR, "JSON value is not of expected type array")
    return [transaction(text) for text in texts]


def descriptor(text: Any) -> bytes:
    """The script of raw(hex) or addr(address)."""
    try:
        return address.script_of_descriptor(str(text))
    except ValueError as error:
        raise RpcError(ErrorCode.INVALID_ADDRESS_OR_KEY, str(error)) from error
