"""The secrets of one end of a simulated channel, which all follow from a seed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from contractcourt.bolt3 import points, secrets
from contractcourt.channel import ChannelSide
from contractcourt.units import Blocks, PublicKey, Satoshi, Secret

#: The base secrets of one side, BOLT 3's names.
BASE_SECRETS = ("funding", "revocation_base", "payment", "delayed_payment_base", "htlc_base")

#: One channel is asked for the same few keys again and again.
_once = lru_cache(maxsize=256)


def from_seed(seed: str) -> Secret:
    """32 bytes that nobody else's seed gives."""
    return Secret(hashlib.sha256(seed.encode()).digest())


public_key = _once(points.public_key)


@dataclass(frozen=True, slots=True)
class Keys:
    """The secrets of one side, BOLT 3's names."""

    seed: str

    def secret(self, name: str) -> Secret:
        """One of the five base secrets, or `commitment_seed`."""
        return from_seed(f"{self.seed}/{name}")

    def point(self, number: int) -> PublicKey:
        """The per-commitment point of commitment `number`."""
        return public_key(self.revoke(number))

    def revoke(self, number: int) -> Secret:
        """The per-commitment secret of commitment `number`."""
        return _commitment_secret(self.secret("commitment_seed"), number)

    def side(self, to_self_delay: int, dust_limit_sat: int) -> ChannelSide:
        """The public facts of this side."""
        funding, revocation, payment, delayed, htlc = (
            public_key(self.secret(name)) for name in BASE_SECRETS
        )
        return ChannelSide(
            funding_pubkey=funding,
            revocation_basepoint=revocation,
            payment_basepoint=payment,
            delayed_payment_basepoint=delayed,
            htlc_basepoint=htlc,
            to_self_delay=Blocks(to_self_delay),
            dust_limit_sat=Satoshi(dust_limit_sat),
        )


@_once
def _commitment_secret(seed: Secret, number: int) -> Secret:
    return secrets.generate_from_seed(seed, secrets.secret_index(number))
