"""What the spend of an HTLC output means, read from its witness.

The table "How to read a spend of an HTLC output" of the rules, in code. A witness on chain was
accepted by every node, so its form alone tells which branch of the script was taken: the script
itself asks for the revocation key first, then whether the last item is 32 bytes long.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from hashlib import sha256

from contractcourt.bitcoin.script import hash160
from contractcourt.units import PaymentHash, Secret

_PREIMAGE_BYTES = 32
#: Where both HTLC scripts hold the hash of the revocation key: `DUP HASH160 <20 bytes>`.
_REVOCATION_HASH = slice(3, 23)


class HtlcSpendKind(Enum):
    """By whom an HTLC output was taken, and how. "Owner" is the commitment's."""

    #: The other side, by the revocation key: the commitment was revoked.
    REVOCATION = "revocation"
    #: The owner takes back what it offered: an HTLC-timeout transaction.
    HTLC_TIMEOUT = "htlc_timeout"
    #: The owner takes what it received, with the preimage: an HTLC-success transaction.
    HTLC_SUCCESS = "htlc_success"
    #: The other side takes what the owner offered, with the preimage.
    PREIMAGE_CLAIM = "preimage_claim"
    #: The other side takes back what it offered to the owner.
    TIMEOUT_CLAIM = "timeout_claim"


@dataclass(frozen=True, slots=True)
class HtlcSpend:
    """A spend of an HTLC output. `preimage` is there when the branch taken shows it."""

    kind: HtlcSpendKind
    preimage: Secret | None = None

    @property
    def by_owner(self) -> bool:
        """The commitment's owner took it, by a second-level transaction."""
        return self.kind in (HtlcSpendKind.HTLC_TIMEOUT, HtlcSpendKind.HTLC_SUCCESS)

    def reveals(self, payment_hash: PaymentHash) -> Secret | None:
        """The preimage, when it is that of `payment_hash` (rules L7, R6, U1)."""
        if self.preimage is None or sha256(self.preimage).digest() != payment_hash:
            return None
        return self.preimage


def read_htlc_spend(witness: tuple[bytes, ...], *, offered_by_owner: bool) -> HtlcSpend | None:
    """How the input with this witness took an HTLC output, or None when no branch fits.

    Args:
        witness: all its items, the witness script last (rule B9).
        offered_by_owner: the commitment's owner offered the HTLC, so that the script is that of
            `scripts.offered_htlc`.
    """
    *items, script = witness or (b"",)
    has_preimage = bool(items) and len(items[-1]) == _PREIMAGE_BYTES
    match items:
        case (_, key) if hash160(key) == script[_REVOCATION_HASH]:
            return HtlcSpend(HtlcSpendKind.REVOCATION)
        case (_, _, _, _) if offered_by_owner and not has_preimage:
            return HtlcSpend(HtlcSpendKind.HTLC_TIMEOUT)
        case (_, _, _, preimage) if not offered_by_owner and has_preimage:
            return HtlcSpend(HtlcSpendKind.HTLC_SUCCESS, Secret(preimage))
        case (_, preimage) if offered_by_owner and has_preimage:
            return HtlcSpend(HtlcSpendKind.PREIMAGE_CLAIM, Secret(preimage))
        case (_, _) if not offered_by_owner and not has_preimage:
            return HtlcSpend(HtlcSpendKind.TIMEOUT_CLAIM)
        case _:
            return None
