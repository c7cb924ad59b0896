"""Every error of the law, rooted in `ContractCourtError`. A docstring is a default message.

Expected outcomes (a double spend, a duplicate) are values, not exceptions. What stands here is
wrong input or a broken promise of the caller; nothing has been changed when one is raised.
"""

from __future__ import annotations


class ContractCourtError(Exception):
    """contractcourt could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class LawError(ContractCourtError):
    """The law refuses this input."""


class MalformedTransaction(LawError):
    """These bytes are not a Bitcoin transaction."""


class MalformedBlock(LawError):
    """These bytes are not a Bitcoin block."""


class InvalidPoint(LawError):
    """This is not a point on secp256k1 in compressed form."""


class InvalidSignature(LawError):
    """This signature does not verify."""


class RevocationSecretMismatch(LawError):
    """This per-commitment secret does not belong to the commitment it is said to revoke."""


class CommitmentMismatch(LawError):
    """This commitment transaction is not the one that its own numbers describe."""


class CommitmentNumberRegression(LawError):
    """This commitment number lies behind one already accepted."""


class OutOfOrder(LawError):
    """Something that must come first has not arrived yet; send it, then repeat this."""


class UnsupportedChannelType(LawError):
    """The law has no rules for this channel type; it can only be watched."""
