"""What the devnet refuses, and the JSON-RPC error numbers of Bitcoin Core (`rpc/protocol.h`)."""

from __future__ import annotations

from enum import IntEnum

from chain.errors import ChainError


class DevnetError(ChainError):
    """The devnet could not do what was asked."""


class KernelMissing(DevnetError):
    """py-bitcoinkernel is not installed: pip install 'contractcourt[embedded]'."""


class KernelNotStarted(DevnetError):
    """The kernel can't use its folder: make room on its disk, or name another one."""


class DatadirInUse(DevnetError):
    """Another devnet runs in this datadir."""


class DevnetNotStarted(DevnetError):
    """The devnet process ended before it served."""


class PortTaken(DevnetError):
    """Nothing can listen on this port: give another one, or end what listens there."""


class BlockRefused(DevnetError):
    """Consensus refuses this block."""


class WalletEmpty(DevnetError):
    """The devnet's wallet has not enough mature coins, and mining more did not help."""


class ErrorCode(IntEnum):
    """Bitcoin Core's error numbers, as far as the devnet answers with them."""

    MISC_ERROR = -1
    TYPE_ERROR = -3
    INVALID_ADDRESS_OR_KEY = -5
    INVALID_PARAMETER = -8
    DATABASE_ERROR = -20
    DESERIALIZATION_ERROR = -22
    VERIFY_ERROR = -25
    VERIFY_REJECTED = -26
    VERIFY_ALREADY_IN_UTXO_SET = -27
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    PARSE_ERROR = -32700


class RpcError(DevnetError):
    """The error of one JSON-RPC call: Core's number and Core's text."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
