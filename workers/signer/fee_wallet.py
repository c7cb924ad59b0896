"""A node's fee wallet: the coins that pay for what carries no fee of its own (rules H4, F4).

It is given as a descriptor, as Bitcoin Core's `listdescriptors true` prints one, of keys in P2WPKH:
`wpkh([origin]xprv.../path/*)#checksum`, or of one key in WIF: `wpkh(K...)#checksum`. Keep it for
this court alone: coins that somebody else spends too make replacements fail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from contractcourt.bitcoin.script import p2wpkh
from contractcourt.bolt3.points import public_key
from contractcourt.units import Script, Secret
from workers.signer.errors import MalformedKeyDocument
from workers.signer.extended_key import HARDENED, base58check, parse_extended_key

#: Scripts that the watcher follows, and that change goes to in turns.
SCRIPTS = 20

_KEY = r"(?P<key>[1-9A-HJ-NP-Za-km-z]+)"
#: One number of a path: below 2^31 (BIP 32), and no digits of other scripts.
_STEP = r"/[0-9]{1,10}['hH]?"
_RANGED = re.compile(
    rf"wpkh\((?:\[[0-9a-fA-F]{{8}}(?:{_STEP})*\])?"
    + _KEY
    + rf"(?P<path>(?:{_STEP})*)/\*(?P<hardened>['hH]?)\)"
)
_SINGLE = re.compile(r"wpkh\(" + _KEY + r"\)")
#: First byte of a private key in WIF: mainnet, and every test chain.
_WIF_VERSIONS = {0x80: True, 0xEF: False}
_COMPRESSED = 0x01
_WORDS = (
    "fee_wallet is not a descriptor of the form wpkh(xprv.../0/*)#checksum or wpkh(WIF)#checksum "
    "(bitcoin-cli listdescriptors true prints one)"
)
_CHARACTERS = (
    "0123456789()[],'/*abcdefgh@:$%{}IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~ijklmnopqrstuvwxyzABCDEFGH"
    '`#"\\ '
)
_CHECKSUM_CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0xF5DEE51989, 0xA9FDCA3312, 0x1BAB10E32D, 0x3706B1677A, 0x644D626FFD)


@dataclass(frozen=True, slots=True)
class FeeWalletKeys:
    """The wallet's keys, in the order of their scripts."""

    descriptor: str = field(repr=False)
    private_keys: tuple[Secret, ...] = field(repr=False)
    mainnet: bool

    def private_key(self, index: int) -> Secret:
        """The key of script `index`."""
        return self.private_keys[index]

    def scripts(self) -> list[Script]:
        """Its P2WPKH scripts."""
        return [p2wpkh(public_key(key)) for key in self.private_keys]


def parse_fee_wallet(descriptor: str) -> FeeWalletKeys:
    """Read a descriptor with a private key.

    Raises:
        MalformedKeyDocument: it is none of the forms, or its checksum is missing or wrong; the
            message never holds the text.
    """
    body, _, checksum = descriptor.partition("#")
    ranged, single = _RANGED.fullmatch(body), _SINGLE.fullmatch(body)
    if ranged is None and single is None:
        raise MalformedKeyDocument(_WORDS)
    if descriptor_checksum(body) != checksum:
        raise MalformedKeyDocument(
            "the checksum of fee_wallet is missing or wrong: copy it again, with what follows #"
        )
    keys, mainnet = _ranged_keys(ranged) if ranged else _single_key(body)
    return FeeWalletKeys(descriptor, keys, mainnet)


def _ranged_keys(form: re.Match[str]) -> tuple[tuple[Secret, ...], bool]:
    parent, mainnet = parse_extended_key(form["key"], "fee_wallet")
    for step in filter(None, form["path"].split("/")):
        parent = parent.child(_index(step))
    first = HARDENED if form["hardened"] else 0
    return tuple(Secret(parent.child(first + index).secret) for index in range(SCRIPTS)), mainnet


def _index(step: str) -> int:
    number = int(step.rstrip("'hH"))
    if number >= HARDENED:
        raise MalformedKeyDocument(_WORDS)
    return number + (HARDENED if step[-1] in "'hH" else 0)


def _single_key(body: str) -> tuple[tuple[Secret, ...], bool]:
    raw = base58check(body[len("wpkh(") : -1], "fee_wallet")
    mainnet = _WIF_VERSIONS.get(raw[0]) if len(raw) == 34 and raw[-1] == _COMPRESSED else None
    if mainnet is None:
        raise MalformedKeyDocument("fee_wallet does not hold a private key in WIF, compressed")
    return (Secret(raw[1:33]),), mainnet


def descriptor_checksum(body: str) -> str:
    """The eight characters that follow `#` (BIP 380). Raises ValueError for a foreign character."""
    state, group = 1, 0
    for place, character in enumerate(body, start=1):
        position = _CHARACTERS.index(character)
        state = _next(state, position & 31)
        group = group * 3 + (position >> 5)
        if place % 3 == 0:
            state, group = _next(state, group), 0
    if len(body) % 3:
        state = _next(state, group)
    for _ in range(8):
        state = _next(state, 0)
    state ^= 1
    return "".join(_CHECKSUM_CHARACTERS[state >> 5 * (7 - place) & 31] for place in range(8))


def _next(state: int, value: int) -> int:
    top = state >> 35
    state = (state & 0x7FFFFFFFF) << 5 ^ value
    for bit, constant in enumerate(_GENERATOR):
        if top >> bit & 1:
            state ^= constant
    return state
