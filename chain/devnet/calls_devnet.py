"""Calls that only the devnet has, for tests and demos: money, chosen blocks, reorgs and faults."""

from __future__ import annotations

from typing import Any

from chain.devnet import arguments
from chain.devnet.answers import Json
from chain.devnet.errors import BlockRefused, DevnetError, ErrorCode, RpcError
from chain.devnet.faults import Fault, Faults
from chain.devnet.node import Node
from chain.devnet.policy import RELAY_FLOOR
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxOut


class DevnetCalls:
    """Everything with the prefix `devnet_`."""

    def __init__(self, node: Node, faults: Faults) -> None:
        self._node = node
        self._faults = faults

    def devnet_fund(self, script_hex: Any, amount_sat: Any) -> str:
        """Pay a script from the wallet. Returns the outpoint; the next block confirms it.

        On a chain whose wallet is empty it first mines 110 blocks to the wallet.
        """
        script = arguments.raw_bytes(script_hex, "script")
        value = arguments.whole_number(amount_sat, "amount_sat")
        tx = self._pay([TxOut(value, script)], None)
        return str(OutPoint.of(tx.txid(), 0))

    def devnet_spend(self, outputs: Any, feerate_sat_per_kvb: Any = None) -> Json:
        """Pay several outputs [{script_hex, amount_sat}] in one transaction.

        They stand first, in the given order. Returns txid, hex and the outpoints.
        """
        wanted = [
            TxOut(
                arguments.whole_number(item["amount_sat"], "amount_sat"),
                arguments.raw_bytes(item["script_hex"], "script_hex"),
            )
            for item in outputs
        ]
        tx = self._pay(wanted, feerate_sat_per_kvb)
        txid = tx.txid()
        outpoints = [str(OutPoint.of(txid, vout)) for vout in range(len(wanted))]
        return {"txid": txid.hex(), "hex": tx.serialize().hex(), "outpoints": outpoints}

    def devnet_mine(self, n: Any, txs: Any = None, include_mempool: Any = None) -> list[str]:
        """Mine blocks to the wallet: with the mempool's transactions, or with `txs` (hex).

        `txs` stand in the first block; whether the mempool's stand in the blocks too is said by
        `include_mempool`, which is true unless `txs` are given, even an empty list.
        """
        chosen = arguments.transactions(txs or [])
        count = arguments.whole_number(n, "n")
        both = txs is None if include_mempool is None else bool(include_mempool)
        try:
            blocks = self._node.mine(count, transactions=chosen, include_mempool=both)
        except BlockRefused as error:
            text = f"TestBlockValidity failed: {error}"
            raise RpcError(ErrorCode.VERIFY_ERROR, text) from error
        return [block.hash.hex() for block in blocks]

    def devnet_reorg(
        self,
        depth: Any,
        new_length: Any = None,
        keep_transactions: Any = True,
        replaced_by: Any = None,
    ) -> Json:
        """Replace the newest `depth` blocks by `new_length` others (default: one more), at once.

        With `keep_transactions` what they held returns to the mempool, as in Core; the new blocks
        are empty but for `replaced_by` (hex) in the first.
        """
        height = self._node.chain.tip.height
        if not 1 <= arguments.whole_number(depth, "depth") <= height:
            raise RpcError(ErrorCode.INVALID_PARAMETER, f"depth must be 1 to {height}")
        length = depth + 1 if new_length is None else arguments.whole_number(new_length, "length")
        first = arguments.transactions(replaced_by or [])
        if first and not length:
            raise RpcError(ErrorCode.INVALID_PARAMETER, "replaced_by needs a new block")
        try:
            move = self._node.reorg(depth, length, first, keep_transactions=bool(keep_transactions))
        except BlockRefused as error:
            raise RpcError(ErrorCode.VERIFY_ERROR, f"TestBlockValidity failed: {error}") from error
        return {
            "fork_height": height - depth,
            "disconnected": [block.hash.hex() for block in move.disconnected],
            "connected": [block.hash.hex() for block in move.connected],
        }

    def devnet_set_mempool_floor(self, sat_per_kvb: Any = None) -> None:
        """The feerate below which the mempool refuses; null for the relay floor."""
        floor = RELAY_FLOOR if sat_per_kvb is None else sat_per_kvb
        self._node.admission.floor = arguments.whole_number(floor, "sat_per_kvb")

    def devnet_set_fee_estimate(self, sat_per_kvb: Any = None) -> None:
        """What estimatesmartfee answers; null for no estimate, as at the start."""
        if sat_per_kvb is not None:
            arguments.whole_number(sat_per_kvb, "sat_per_kvb")
        self._node.fee_estimate = sat_per_kvb

    def devnet_set_syncing(self, syncing: Any) -> None:
        """What getblockchaininfo answers as initialblockdownload."""
        self._node.syncing = bool(syncing)

    def devnet_prune(self, height: Any = None) -> None:
        """Act as a pruned node that has no block below this height; null for all blocks."""
        self._node.fetched.clear()
        self._node.pruned_below = height

    def devnet_clear_mempool(self) -> list[str]:
        """Forget every waiting transaction, as a node that restarted without its mempool."""
        return [entry.txid.hex() for entry in self._node.mempool.clear()]

    def devnet_set_fault(
        self,
        method: Any,
        calls: Any = 1,
        error: Any = None,
        delay_seconds: Any = 0,
        drop: Any = None,
        http_status: Any = None,
        **result: Any,
    ) -> None:
        """The next `calls` calls of `method` (`*` for all) meet a fault; 0 calls take it back.

        `error` {code, message}, `result` (by name only), `delay_seconds`, `drop` ("before": not
        carried out; "after": carried out, answer lost), `http_status` (without a body).
        """
        unknown = set(result) - {"result"}
        if unknown or drop not in (None, "before", "after"):
            raise RpcError(ErrorCode.INVALID_PARAMETER, f"Unknown fault {unknown or drop}")
        fault = Fault(
            error=error,
            result=result.get("result"),
            has_result=bool(result),
            delay_seconds=float(delay_seconds),
            drop=drop,
            http_status=http_status,
        )
        self._faults.plan(str(method), arguments.whole_number(calls, "calls"), fault)

    def devnet_clear_faults(self) -> None:
        """No more faults."""
        self._faults.clear()

    def _pay(self, outputs: list[TxOut], sat_per_kvb: int | None) -> Transaction:
        try:
            return self._node.pay(outputs, sat_per_kvb)
        except BlockRefused:
            raise
        except DevnetError as error:
            raise RpcError(ErrorCode.VERIFY_REJECTED, str(error)) from error
