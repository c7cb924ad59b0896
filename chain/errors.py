"""Errors of the chain: what a view of Bitcoin could not do, and what to do about it."""

from __future__ import annotations

from contractcourt.errors import ContractCourtError


class ChainError(ContractCourtError):
    """The view of the chain failed."""


class ChainUnavailable(ChainError):
    """The Bitcoin node does not answer: is it running, and is BITCOIND_URL right?"""


class SenselessAnswer(ChainError):
    """The Bitcoin node's answer is not what Core answers: does BITCOIND_URL name a Bitcoin node?"""


class NodeStarting(ChainUnavailable):
    """The Bitcoin node is still starting; it will answer when it is done."""


class WrongCredentials(ChainError):
    """The Bitcoin node refuses our user and password, or its cookie: check BITCOIND_URL."""


class RpcRefused(ChainError):
    """The Bitcoin node answered a call with an error."""

    def __init__(self, method: str, code: int, message: str) -> None:
        super().__init__(f"{method}: {message} ({code})")
        self.code = code
        self.message = message


class ScanAborted(ChainError):
    """Somebody aborted the search of the UTXO set: what was found until then is not all."""


class BlockUnavailable(ChainError):
    """A block of the best chain can't be read; it is never skipped."""


class WrongNetwork(ChainError):
    """The Bitcoin node serves another network than this court."""


class MalformedFilter(ChainError):
    """These bytes are not a BIP 158 filter."""
