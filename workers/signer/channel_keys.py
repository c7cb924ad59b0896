"""The secrets of one channel, and the proof that they are this channel's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, assert_never

from contractcourt.bolt3.derivation import derive_private_key, derive_revocation_private_key
from contractcourt.bolt3.points import public_key
from contractcourt.bolt3.secrets import generate_from_seed, secret_index
from contractcourt.channel import Channel, Side
from contractcourt.claims import KeyRole
from contractcourt.signing import RefusalReason, SigningRefused
from contractcourt.units import PublicKey, Secret
from workers.signer.errors import KeysMissing

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ChannelKeys:
    """BOLT 3's basepoint secrets and the commitment seed, 32 bytes each; `repr` shows none.

    `funding_key` is that of the present funding; None where a splice brought a new one that nobody
    has imported.
    """

    funding_key: Secret | None = field(repr=False)
    revocation_base_key: Secret = field(repr=False)
    payment_key: Secret = field(repr=False)
    delayed_payment_base_key: Secret = field(repr=False)
    htlc_base_key: Secret = field(repr=False)
    commitment_seed: Secret = field(repr=False)

    def check_belongs_to(self, channel: Channel) -> None:
        """Raise SigningRefused(WRONG_KEY) unless every key of our side of `channel` is ours."""
        side = channel.local
        pairs = (
            ("funding_pubkey", self.funding_key, channel.funding_pubkey(Side.LOCAL)),
            ("revocation_basepoint", self.revocation_base_key, side.revocation_basepoint),
            ("payment_basepoint", self.payment_key, side.payment_basepoint),
            (
                "delayed_payment_basepoint",
                self.delayed_payment_base_key,
                side.delayed_payment_basepoint,
            ),
            ("htlc_basepoint", self.htlc_base_key, side.htlc_basepoint),
        )
        wrong = [
            name
            for name, secret, point in pairs
            if secret is not None and public_key(secret) != point
        ]
        if wrong:
            raise SigningRefused(
                RefusalReason.WRONG_KEY,
                f"wrong key: the channel's {', '.join(wrong)} is not derived from the stored keys; "
                "check key_ref (the index, the node) or import this channel's own keys",
            )

    def per_commitment_point(self, number: int) -> PublicKey:
        """Our per-commitment point of commitment `number`, counted up from 0 (rule B4)."""
        return public_key(generate_from_seed(self.commitment_seed, secret_index(number)))

    def private_key(
        self, role: KeyRole, point: PublicKey | None, revealed: Secret | None
    ) -> Secret:
        """The private key that plays `role` on a commitment (BOLT 3, "Key Derivation").

        Args:
            point: the commitment's per-commitment point, for DELAYED and HTLC.
            revealed: its revealed per-commitment secret, for REVOCATION.

        Raises KeysMissing for FUNDING while the key of a splice is not imported.
        """
        match role:
            case KeyRole.FUNDING:
                return self._present_funding_key
            case KeyRole.PAYMENT:
                return self.payment_key
            case KeyRole.DELAYED:
                return Secret(derive_private_key(self.delayed_payment_base_key, _needed(point)))
            case KeyRole.HTLC:
                return Secret(derive_private_key(self.htlc_base_key, _needed(point)))
            case KeyRole.REVOCATION:
                base = self.revocation_base_key
                return Secret(derive_revocation_private_key(base, _needed(revealed)))
        assert_never(role)

    @property
    def _present_funding_key(self) -> Secret:
        if self.funding_key is None:
            raise KeysMissing(
                "the channel's splice brought a new funding key, and that is not stored: import it "
                "(channel_point, splice_funding_key)"
            )
        return self.funding_key

    def packed(self) -> bytes:
        """All six secrets in a row, 192 bytes, as they are sealed."""
        return b"".join(
            (
                self._present_funding_key,
                self.revocation_base_key,
                self.payment_key,
                self.delayed_payment_base_key,
                self.htlc_base_key,
                self.commitment_seed,
            )
        )

    @classmethod
    def unpacked(cls, raw: bytes) -> ChannelKeys:
        """Read what `packed` wrote."""
        return cls(*(Secret(raw[start : start + 32]) for start in range(0, 192, 32)))


def _needed(value: T | None) -> T:
    if value is None:
        raise SigningRefused(
            RefusalReason.MALFORMED_REQUEST, "this contract lacks its per-commitment point"
        )
    return value
