"""Channels whose keys an lnd node derives from its root key, as the signer does for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from contractcourt.units import Secret
from workers.signer.channel_keys import ChannelKeys
from workers.signer.documents import LndRootDocument
from workers.signer.extended_key import ExtendedKey
from workers.signer.lnd_keys import LndKeyRing
from workers.simulation.keys import Keys, from_seed


@dataclass(frozen=True, slots=True)
class LndKeys(Keys):
    """Our side's secrets of the channel at an index."""

    derived: ChannelKeys = field(repr=False)

    def secret(self, name: str) -> Secret:
        """One of the five base secrets, or `commitment_seed`."""
        secret: Secret = getattr(self.derived, name if name == "commitment_seed" else f"{name}_key")
        return secret


def keys(node: str, index: int) -> LndKeys:
    """Those of the node's channel at `index`."""
    likeliest, *_ = _ring(node).channel_keys(index)
    return LndKeys(f"{node}/{index}", likeliest)


def root(node: str) -> LndRootDocument:
    """What the node's operator imports, once."""
    return LndRootDocument(node, _ring(node))


@cache
def _ring(node: str) -> LndKeyRing:
    secret, chain_code = (from_seed(f"{part} of {node}") for part in ("root key", "chain code"))
    return LndKeyRing(ExtendedKey(secret, chain_code), mainnet=False)
