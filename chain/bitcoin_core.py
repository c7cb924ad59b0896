"""A Bitcoin node seen through Core's RPC and REST; the devnet answers the same calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from chain.errors import BlockUnavailable, RpcRefused
from chain.json_rpc import JsonRpc
from chain.refusals import outcome_of
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.events import PublishOutcome
from contractcourt.units import BlockHash, BlockHeight, FeeratePerKw, Satoshi, Script

_INVALID_ADDRESS_OR_KEY = -5
_SAT_PER_BTC = 100_000_000


@dataclass(frozen=True, slots=True)
class PublishResult:
    """What the node said of one transaction; `reason` is its own text."""

    outcome: PublishOutcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class UnspentOutput:
    """An output that nobody has spent. `confirmations` is 0 in the mempool."""

    value_sat: Satoshi
    script_pubkey: Script
    confirmations: int


@dataclass(frozen=True, slots=True)
class ChainState:
    """Where the node stands. `prune_height` is the lowest block it still has, if it prunes."""

    network: str
    height: BlockHeight
    best_hash: BlockHash
    syncing: bool
    prune_height: BlockHeight | None


class BitcoinCore:
    """One node. Use it in one process; it is safe in several threads."""

    def __init__(
        self, url: str, *, cookie_file: Path | None = None, timeout_seconds: float = 30.0
    ) -> None:
        self._rpc = JsonRpc(_with_cookie(url, cookie_file), timeout_seconds=timeout_seconds)
        self._rest: bool | None = None

    def close(self) -> None:
        """Close the connections."""
        self._rpc.close()

    # -- where the chain stands --

    def state(self) -> ChainState:
        """Network, tip, whether the node still syncs, how far it is pruned."""
        told = self._rpc.call("getblockchaininfo")
        return ChainState(
            network=str(told["chain"]),
            height=BlockHeight(int(told["blocks"])),
            best_hash=BlockHash.parse(told["bestblockhash"]),
            syncing=bool(told.get("initialblockdownload", False)),
            prune_height=BlockHeight(int(told["pruneheight"])) if told.get("pruned") else None,
        )

    def block_hash(self, height: BlockHeight) -> BlockHash | None:
        """The best chain's block at this height; None above the tip."""
        try:
            return BlockHash.parse(self._rpc.call("getblockhash", height))
        except RpcRefused as refused:
            if "out of range" in refused.message.lower():
                return None
            raise

    def raw_block(self, block_hash: BlockHash) -> bytes:
        """A block's bytes: over REST where it is on, else as hex; never as JSON (users_ask B2).

        Raises BlockUnavailable when the node does not have it.
        """
        if self._rest is not False:
            raw = self._rpc.get(f"/rest/block/{block_hash}.bin")
            if raw is not None:
                self._rest = True
                return raw
        try:
            raw = bytes.fromhex(self._rpc.call("getblock", str(block_hash), 0))
        except RpcRefused as refused:
            raise BlockUnavailable(f"block {block_hash} can't be read: {refused}") from refused
        self._rest = self._rest or False
        return raw

    def fetch_from_peers(self, height: BlockHeight) -> bool:
        """Ask the node to get a block it pruned back from its peers; whether any was asked.

        The block is there, if it comes, at a later `raw_block`.
        """
        block_hash = self.block_hash(height)
        if block_hash is None:
            return False
        for peer in self._rpc.call("getpeerinfo"):
            try:
                self._rpc.call("getblockfrompeer", str(block_hash), peer["id"])
            except RpcRefused:
                continue
            return True
        return False

    # -- outputs and transactions --

    def tx_out(self, outpoint: OutPoint, *, mempool: bool = False) -> UnspentOutput | None:
        """An output, if nobody has spent it (in the mempool neither, when `mempool`)."""
        return self.tx_outs([outpoint], mempool=mempool)[0]

    def tx_outs(
        self, outpoints: Sequence[OutPoint], *, mempool: bool = False
    ) -> list[UnspentOutput | None]:
        """`tx_out` of many, in one batch."""
        calls = [(str(o.txid), o.vout, mempool) for o in outpoints]
        return [_unspent(answer) for answer in _all_or_raise(self._rpc.batch("gettxout", calls))]

    def send_many(self, raw_transactions: Sequence[bytes]) -> list[PublishResult]:
        """Give transactions to the node, in one batch. A refusal is an answer, not an error."""
        calls = [(raw.hex(),) for raw in raw_transactions]
        return [_publish_result(answer) for answer in self._rpc.batch("sendrawtransaction", calls)]

    def send(self, raw_tx: bytes) -> PublishResult:
        """Give one transaction to the node."""
        return self.send_many([raw_tx])[0]

    # -- fees --

    def feerate(self, target_blocks: int) -> FeeratePerKw | None:
        """The node's estimate, rounded up; None when it has none."""
        told = self._rpc.call("estimatesmartfee", target_blocks)
        return _per_kw(told["feerate"]) if "feerate" in told else None

    def mempool_floor(self) -> FeeratePerKw:
        """The least feerate that the node's mempool takes now, rounded up."""
        told = self._rpc.call("getmempoolinfo")
        return _per_kw(max(_decimal(told["mempoolminfee"]), _decimal(told["minrelaytxfee"])))


def _with_cookie(url: str, cookie_file: Path | None) -> str:
    if cookie_file is None:
        return url
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    cookie = cookie_file.read_text().strip()
    return urlunsplit(parts._replace(netloc=f"{cookie}@{host}"))


def _decimal(value: Any) -> Decimal:
    return Decimal(str(value))


def _per_kw(btc_per_kvb: Any) -> FeeratePerKw:
    """BTC for 1000 virtual bytes are 4000 weight units; rounded up, never below the rate."""
    sat_per_kvb = _decimal(btc_per_kvb) * _SAT_PER_BTC
    return FeeratePerKw(-int(-sat_per_kvb // 4))


def _unspent(told: Any) -> UnspentOutput | None:
    if told is None:
        return None
    return UnspentOutput(
        value_sat=Satoshi(int(_decimal(told["value"]) * _SAT_PER_BTC)),
        script_pubkey=Script.parse(told["scriptPubKey"]["hex"]),
        confirmations=int(told["confirmations"]),
    )


def _publish_result(answer: Any) -> PublishResult:
    if isinstance(answer, RpcRefused):
        return PublishResult(outcome_of(answer.code, answer.message), answer.message)
    return PublishResult(PublishOutcome.ACCEPTED)


def _all_or_raise(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, RpcRefused):
            raise answer
    return answers
