"""What `contractcourt keys import FILE` may hold: secrets of a channel, a splice, node or wallet.

The reader never repeats a value in an error: every one of them is a secret or may be one, and a
field's name may be a secret pasted at the wrong place.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import msgspec
from coincurve import PrivateKey

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.units import Secret
from workers.signer.channel_keys import ChannelKeys
from workers.signer.errors import MalformedKeyDocument
from workers.signer.extended_key import parse_extended_key
from workers.signer.fee_wallet import FeeWalletKeys, parse_fee_wallet
from workers.signer.lnd_keys import LndKeyRing

_SECRET_FIELDS = tuple(f.name for f in fields(ChannelKeys))
_SEED = "commitment_seed"
_RAW_FIELDS = frozenset({"channel_point", *_SECRET_FIELDS})
_SPLICE_FIELDS = frozenset({"channel_point", "splice_funding_key"})
_LND_FIELDS = frozenset({"node", "lnd_root_key"})
_WALLET_FIELDS = frozenset({"node", "fee_wallet"})


@dataclass(frozen=True, slots=True)
class ChannelKeyDocument:
    """The secrets of one channel."""

    channel_point: OutPoint
    keys: ChannelKeys = field(repr=False)


@dataclass(frozen=True, slots=True)
class SpliceKeyDocument:
    """The funding key that a splice of one channel brought."""

    channel_point: OutPoint
    funding_key: Secret = field(repr=False)


@dataclass(frozen=True, slots=True)
class LndRootDocument:
    """The root key of one lnd node's wallet."""

    node: str
    ring: LndKeyRing = field(repr=False)


@dataclass(frozen=True, slots=True)
class FeeWalletDocument:
    """The fee wallet of one node."""

    node: str
    keys: FeeWalletKeys = field(repr=False)


KeyDocument = ChannelKeyDocument | SpliceKeyDocument | LndRootDocument | FeeWalletDocument


def parse_key_document(raw: bytes, *, mainnet: bool) -> KeyDocument:
    """Read one key document.

    Args:
        mainnet: whether this court serves mainnet; a root key of the other kind is refused.

    Raises:
        MalformedKeyDocument: it is none; the message names the field and never its value.
    """
    document = _object(raw)
    names = frozenset(document)
    if names == _RAW_FIELDS:
        return ChannelKeyDocument(_channel_point(document), _channel_keys(document))
    if names == _SPLICE_FIELDS:
        key = _private_key(document, "splice_funding_key")
        return SpliceKeyDocument(_channel_point(document), key)
    if names == _LND_FIELDS:
        return LndRootDocument(_node(document), _lnd_ring(document, mainnet=mainnet))
    if names == _WALLET_FIELDS:
        return FeeWalletDocument(_node(document), _fee_wallet(document, mainnet=mainnet))
    raise MalformedKeyDocument(_what_is_amiss(names))


def _object(raw: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise MalformedKeyDocument("a key document is a JSON object; this is no JSON") from None
    if not isinstance(document, dict):
        raise MalformedKeyDocument("a key document is a JSON object")
    return document


def _what_is_amiss(names: frozenset[str]) -> str:
    wanted = _SPLICE_FIELDS if "splice_funding_key" in names else _RAW_FIELDS
    if names & _LND_FIELDS:
        wanted = _WALLET_FIELDS if "fee_wallet" in names else _LND_FIELDS
    missing = sorted(wanted - names)
    if missing:
        return f"the key document lacks {', '.join(missing)}"
    return f"the key document has fields beyond {', '.join(sorted(wanted))}"


def _channel_point(document: dict[str, Any]) -> OutPoint:
    try:
        return OutPoint.parse(_text(document, "channel_point"))
    except ValueError:
        raise MalformedKeyDocument("channel_point is not written txid:vout") from None


def _channel_keys(document: dict[str, Any]) -> ChannelKeys:
    return ChannelKeys(
        **{
            name: _secret(document, name) if name == _SEED else _private_key(document, name)
            for name in _SECRET_FIELDS
        }
    )


def _private_key(document: dict[str, Any], name: str) -> Secret:
    secret = _secret(document, name)
    if not _is_private_key(secret):
        raise MalformedKeyDocument(f"{name} is not a private key of secp256k1")
    return secret


def _secret(document: dict[str, Any], name: str) -> Secret:
    text = _text(document, name)
    if len(text) != 64 or not all(c in "0123456789abcdefABCDEF" for c in text):
        raise MalformedKeyDocument(f"{name} is not 32 bytes of hex")
    return Secret.parse(text)


def _is_private_key(secret: bytes) -> bool:
    try:
        PrivateKey(secret)
    except ValueError:
        return False
    return True


def _node(document: dict[str, Any]) -> str:
    node = _text(document, "node")
    # Postgres holds no text with a NUL, and the refusal would look as if it were away.
    if not node or len(node) > 200 or "\0" in node:
        raise MalformedKeyDocument("node is not the name of a node")
    return node


def _lnd_ring(document: dict[str, Any], *, mainnet: bool) -> LndKeyRing:
    root, is_mainnet = parse_extended_key(_text(document, "lnd_root_key"), "lnd_root_key")
    _check_network("lnd_root_key", is_mainnet, mainnet)
    if root.depth != 0:
        raise MalformedKeyDocument("lnd_root_key is not a root: give the key at path m")
    return LndKeyRing(root, mainnet)


def _fee_wallet(document: dict[str, Any], *, mainnet: bool) -> FeeWalletKeys:
    keys = parse_fee_wallet(_text(document, "fee_wallet"))
    _check_network("fee_wallet", keys.mainnet, mainnet)
    return keys


def _check_network(name: str, is_mainnet: bool, mainnet: bool) -> None:
    if is_mainnet != mainnet:
        raise MalformedKeyDocument(
            f"{name} belongs to another network than this court serves: "
            f"{'an xprv' if mainnet else 'a tprv'} is wanted here"
        )


def _text(document: dict[str, Any], name: str) -> str:
    value = document[name]
    if not isinstance(value, str):
        raise MalformedKeyDocument(f"{name} is not text")
    return value
