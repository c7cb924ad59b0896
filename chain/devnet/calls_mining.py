"""Core's calls that make or take blocks. Method and parameter names are Core's."""

from __future__ import annotations

from typing import Any

from chain.devnet import address, arguments
from chain.devnet.answers import Json
from chain.devnet.errors import BlockRefused, ErrorCode, RpcError
from chain.devnet.node import Node
from contractcourt.bitcoin.block import parse_header
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.errors import MalformedBlock


class MiningCalls:
    """The regtest miner, and blocks from outside."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def generatetoaddress(self, nblocks: Any, address: Any) -> list[str]:
        """Mine blocks that pay a regtest address."""
        return self._generate(nblocks, _script_of_address(address))

    def generatetodescriptor(self, num_blocks: Any, descriptor: Any) -> list[str]:
        """Mine blocks that pay raw(hex) or addr(address)."""
        return self._generate(num_blocks, arguments.descriptor(descriptor))

    def generateblock(self, output: Any, transactions: Any, submit: Any = True) -> Json:
        """Mine one block with exactly these transactions: hex, or txids of the mempool."""
        text = str(output)
        script = (
            arguments.descriptor(text) if text.endswith(")") or "#" in text
            else _script_of_address(text)
        )  # fmt: skip
        txs = [self._chosen(item) for item in transactions]
        if not submit:
            raise RpcError(ErrorCode.INVALID_PARAMETER, "the devnet always submits")
        try:
            blocks = self._node.mine(1, script, txs, include_mempool=False)
        except BlockRefused as error:
            text = f"TestBlockValidity failed: {error}"
            raise RpcError(ErrorCode.VERIFY_ERROR, text) from error
        return {"hash": blocks[0].hash.hex()}

    def submitblock(self, hexdata: Any) -> str | None:
        """A block from outside: null when it is valid and on the active chain, else why not."""
        try:
            raw = bytes.fromhex(hexdata)
            header = parse_header(raw)
        except (TypeError, ValueError, MalformedBlock):
            raise RpcError(ErrorCode.DESERIALIZATION_ERROR, "Block decode failed") from None
        chain = self._node.chain
        known = chain.tree.get(header.hash)
        if known is not None:
            return "duplicate-invalid" if chain.is_invalid(known) else "duplicate"
        try:
            self._node.submit_block(raw)
        except BlockRefused as error:
            if str(error) == "Block decode failed":
                raise RpcError(ErrorCode.DESERIALIZATION_ERROR, str(error)) from error
            return str(error)
        return None if chain.is_active(chain.tree[header.hash]) else "inconclusive"

    def _generate(self, count: Any, script: bytes) -> list[str]:
        number = arguments.whole_number(count, "nblocks")
        return [block.hash.hex() for block in self._node.mine(number, script)]

    def _chosen(self, text: Any) -> Transaction:
        if isinstance(text, str) and len(text) == 64:
            entry = self._node.mempool.get(arguments.txid(text))
            if entry is None:
                message = f"Transaction {text} not in mempool."
                raise RpcError(ErrorCode.INVALID_ADDRESS_OR_KEY, message)
            return entry.tx
        return arguments.transaction(text)


def _script_of_address(text: Any) -> bytes:
    try:
        return address.script_of(str(text))
    except ValueError as error:
        message = "Error: Invalid address"
        raise RpcError(ErrorCode.INVALID_ADDRESS_OR_KEY, message) from error
