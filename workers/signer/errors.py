"""What can go wrong inside the signer. No message ever holds a secret or a part of one."""

from __future__ import annotations

from contractcourt.errors import ContractCourtError


class SignerError(ContractCourtError):
    """The signer could not do what was asked."""


class MalformedKeyDocument(SignerError):
    """This is not a key document: see `contractcourt keys import --help`."""


class ForeignKeyDocument(SignerError):
    """Other keys are already stored under this name; nothing was changed."""


class KeysMissing(SignerError):
    """No keys are stored for this channel; run `contractcourt keys import FILE`."""


class UnknownNode(SignerError):
    """No such node is registered; run `contractcourt node add` first."""
