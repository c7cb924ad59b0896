"""Where lnd keeps a channel's keys: m/1017'/coin'/family'/0/index (lnd, keychain/derivation.go).

The commitment seed has changed twice over. Since lnd 0.12 it is the ECDH of a key of the
revocation-root family with the channel's own funding key; before, it was that family's key
itself. A fresh lnd also never uses index 0 of that family (its wallet cannot tell that locator
from an empty one), so the family runs one index ahead of the others there, and level with them
in a wallet whose first channel is older than 0.12. That makes four candidates; a commitment of
the channel tells which one it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property

from contractcourt.bolt3 import points
from contractcourt.units import PublicKey, Secret
from workers.signer.channel_keys import ChannelKeys
from workers.signer.extended_key import HARDENED, ExtendedKey

_PURPOSE = 1017
_COIN_BITCOIN = 0
_COIN_TEST = 1


class KeyFamily(IntEnum):
    """lnd's families that a channel draws from."""

    MULTISIG = 0
    REVOCATION_BASE = 1
    HTLC_BASE = 2
    PAYMENT_BASE = 3
    DELAY_BASE = 4
    REVOCATION_ROOT = 5


@dataclass(frozen=True)
class LndKeyRing:
    """The channel keys of one lnd node, from its wallet's root key."""

    root: ExtendedKey = field(repr=False)
    mainnet: bool

    def family_key(self, family: KeyFamily, index: int) -> Secret:
        """The private key at `index` of `family`, 32 bytes."""
        return Secret(self._accounts[family].child(index).secret)

    @cached_property
    def _accounts(self) -> Mapping[KeyFamily, ExtendedKey]:
        """The parent of each family's keys, derived once for all channels."""
        coin = self.root.child(HARDENED + _PURPOSE).child(
            HARDENED + (_COIN_BITCOIN if self.mainnet else _COIN_TEST), unpadded=True
        )
        # Every account but the first is derived from a coin key that was stored and read again,
        # which restores its leading zeros.
        return {
            family: coin.child(HARDENED + family, unpadded=family == KeyFamily.MULTISIG).child(0)
            for family in KeyFamily
        }

    def channel_keys(self, index: int) -> tuple[ChannelKeys, ...]:
        """The keys of the channel at `index`, once for every seed that some lnd would have used.

        They differ in the commitment seed only; the most likely stands first.
        """
        funding = self.family_key(KeyFamily.MULTISIG, index)
        likeliest, *others = self._seeds(index, funding)
        keys = ChannelKeys(
            funding_key=funding,
            revocation_base_key=self.family_key(KeyFamily.REVOCATION_BASE, index),
            payment_key=self.family_key(KeyFamily.PAYMENT_BASE, index),
            delayed_payment_base_key=self.family_key(KeyFamily.DELAY_BASE, index),
            htlc_base_key=self.family_key(KeyFamily.HTLC_BASE, index),
            commitment_seed=likeliest,
        )
        return keys, *(replace(keys, commitment_seed=seed) for seed in others)

    def _seeds(self, index: int, funding_key: Secret) -> tuple[Secret, ...]:
        funding = points.public_key(funding_key)
        ahead = self.family_key(KeyFamily.REVOCATION_ROOT, index + 1)
        level = self.family_key(KeyFamily.REVOCATION_ROOT, index)
        return _ecdh(ahead, funding), _ecdh(level, funding), level, ahead


def _ecdh(secret: Secret, point: PublicKey) -> Secret:
    """SHA256 of the compressed shared point (lnd, keychain/ecdh.go)."""
    return Secret(hashlib.sha256(points.to_curve(point).multiply(secret).format()).digest())
