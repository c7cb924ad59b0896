"""A Bitcoin node seen through Core's RPC and REST; the devnet answers the same calls.

What is asked, and how, stands here; what an answer means in `core_answers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from chain import core_answers
from chain.errors import BlockUnavailable, RpcRefused, ScanAborted
from chain.json_rpc import JsonRpc
from chain.sense import in_words, must_make_sense
from chain.view import (
    ChainState,
    MempoolFees,
    MempoolSpend,
    PublishResult,
    Scan,
    UnspentOutput,
)
from contractcourt.bitcoin.block import parse_header
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.errors import MalformedBlock
from contractcourt.units import BlockHash, BlockHeight, FeeratePerKw, Script, Txid

_MISC_ERROR = -1
_METHOD_NOT_FOUND = -32601
#: A scan reads every unspent output there is.
_SCAN_SECONDS = 1_800.0
#: Our own budgets are the limit of a fee, not the node's guard against typing errors.
_NO_LIMIT = 0


@must_make_sense
class BitcoinCore:
    """One node. Use it in one process; it is safe in several threads.

    `rest`: whether raw blocks are read over REST; "auto" finds out with the first block.
    """

    def __init__(
        self,
        url: str,
        *,
        cookie_file: Path | None = None,
        timeout_seconds: float = 30.0,
        rest: Literal["auto", "on", "off"] = "auto",
    ) -> None:
        self._rpc = JsonRpc(url, cookie_file=cookie_file, timeout_seconds=timeout_seconds)
        self._rest = {"auto": None, "on": True, "off": False}[rest]

    def close(self) -> None:
        """Close the connections."""
        self._rpc.close()

    # -- where the chain stands --

    def state(self) -> ChainState:
        """Network, tip, whether the node still syncs, how far it is pruned."""
        told = self._rpc.call("getblockchaininfo")
        lowest = told.get("pruneheight") if told.get("pruned") else None
        return ChainState(
            network=in_words(told["chain"]),
            height=core_answers.height(told["blocks"]),
            best_hash=BlockHash.parse(told["bestblockhash"]),
            syncing=bool(told.get("initialblockdownload", False)),
            prune_height=None if lowest is None else core_answers.height(lowest),
            work=int(told.get("chainwork", "0"), 16),
        )

    def block_hash(self, height: BlockHeight) -> BlockHash | None:
        """The best chain's block at this height; None above the tip."""
        return self.block_hashes([height])[0]

    def block_hashes(self, heights: Sequence[BlockHeight]) -> list[BlockHash | None]:
        """`block_hash` of many, in one batch."""
        answers = self._rpc.batch("getblockhash", [(height,) for height in heights])
        return [core_answers.block_hash(answer) for answer in answers]

    # -- blocks --

    def raw_block(self, block_hash: BlockHash) -> bytes:
        """A block's bytes: over REST where it is on, else as hex; never as JSON (users_ask B2).

        Raises BlockUnavailable when the node does not have it, or has something else.
        """
        raw = self._block_over_rest(block_hash)
        if raw is None:
            try:
                raw = bytes.fromhex(self._rpc.call("getblock", str(block_hash), 0))
            except RpcRefused as refused:
                raise BlockUnavailable(f"block {block_hash} can't be read: {refused}") from refused
            except (TypeError, ValueError) as error:
                raise BlockUnavailable(f"block {block_hash} came as no hex") from error
            self._rest = self._rest or False
        _check_is(raw, block_hash)
        return raw

    def _block_over_rest(self, block_hash: BlockHash) -> bytes | None:
        if self._rest is False:
            return None
        raw = self._rpc.get(f"/rest/block/{block_hash}.bin")
        if raw is None:
            return None
        if self._rest is None:
            # Something before the node may have a page for every path: no REST, then.
            try:
                _check_is(raw, block_hash)
            except BlockUnavailable:
                return None
            self._rest = True
        return raw

    def block_filters(self, block_hashes: Sequence[BlockHash]) -> list[bytes | None]:
        """BIP 158 basic filters, in one batch; None for each one that the node does not serve."""
        answers = self._rpc.batch("getblockfilter", [(str(one),) for one in block_hashes])
        return [
            None if isinstance(answer, RpcRefused) else bytes.fromhex(answer["filter"])
            for answer in answers
        ]

    def spending_blocks(
        self, outpoints: Sequence[OutPoint]
    ) -> dict[OutPoint, tuple[BlockHeight, BlockHash]] | None:
        """Where these were spent, by `-txospenderindex` (release 31); None without it."""
        asked = [{"txid": str(o.txid), "vout": o.vout} for o in outpoints]
        try:
            told = self._rpc.call("gettxspendingprevout", asked, {"mempool_only": False})
        except RpcRefused:
            # Not switched on, not built yet, or a release that takes no options.
            return None
        hashes = sorted({answer["blockhash"] for answer in told if "blockhash" in answer})
        headers = self._rpc.batch("getblockheader", [(one,) for one in hashes])
        places = {
            one: (core_answers.height(header["height"]), BlockHash.parse(one))
            for one, header in zip(hashes, headers, strict=True)
            # One that has left the best chain between the two calls is no answer.
            if isinstance(header, dict) and int(header["confirmations"]) > 0
        }
        return {
            outpoint: places[answer["blockhash"]]
            for outpoint, answer in zip(outpoints, told, strict=True)
            if answer.get("blockhash") in places
        }

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
        return [
            core_answers.unspent_output(answer) for answer in self._rpc.batch("gettxout", calls)
        ]

    def mempool_spends(self, outpoints: Sequence[OutPoint]) -> dict[OutPoint, MempoolSpend]:
        """Who spends these in the mempool; those that nobody does are left out."""
        told = self._mempool_spenders([{"txid": str(o.txid), "vout": o.vout} for o in outpoints])
        spenders = {
            outpoint: answer["spendingtxid"]
            for outpoint, answer in zip(outpoints, told, strict=True)
            # With an index of spenders the node tells of mined ones too.
            if "spendingtxid" in answer and "blockhash" not in answer
        }
        txids = sorted(set(spenders.values()))
        answers = self._rpc.batch("getrawtransaction", [(txid,) for txid in txids])
        raw = dict(zip(txids, answers, strict=True))
        return {
            outpoint: MempoolSpend(Txid.parse(txid), bytes.fromhex(raw[txid]))
            for outpoint, txid in spenders.items()
            # One that has left the mempool between the two calls is no answer.
            if isinstance(raw[txid], str)
        }

    def _mempool_spenders(self, asked: list[dict[str, Any]]) -> Any:
        try:
            return self._rpc.call("gettxspendingprevout", asked)
        except RpcRefused as refused:
            if refused.code != _MISC_ERROR:
                raise
        # Its index of spenders is still being built, for hours: a node with one asks that too,
        # unless it is told not to. Releases before 31 take no options.
        return self._rpc.call("gettxspendingprevout", asked, {"mempool_only": True})

    def scan(self, scripts: Sequence[Script]) -> Scan:
        """Search the whole UTXO set for outputs to these scripts: minutes, on mainnet.

        Raises ScanAborted when somebody aborted it at the node.
        """
        wanted = [f"raw({script.hex()})" for script in scripts]
        told = self._rpc.call("scantxoutset", "start", wanted, timeout_seconds=_SCAN_SECONDS)
        if told.get("success") is False:
            raise ScanAborted
        outputs = tuple(core_answers.scanned_output(unspent) for unspent in told["unspents"])
        height = core_answers.height(told["height"])
        return Scan(BlockHash.parse(told["bestblock"]), height, outputs)

    def send_many(self, raw_transactions: Sequence[bytes]) -> list[PublishResult]:
        """Give transactions to the node, in one batch. A refusal is an answer, not an error."""
        calls = [(raw.hex(), _NO_LIMIT) for raw in raw_transactions]
        return [
            core_answers.publish_result(answer)
            for answer in self._rpc.batch("sendrawtransaction", calls)
        ]

    def send(self, raw_tx: bytes) -> PublishResult:
        """Give one transaction to the node."""
        return self.send_many([raw_tx])[0]

    def test_accept(self, raw_transactions: Sequence[bytes]) -> list[PublishResult]:
        """What `send` would say to each by itself; nothing is sent."""
        calls = [([raw.hex()], _NO_LIMIT) for raw in raw_transactions]
        return [
            core_answers.tested(answer) for answer in self._rpc.batch("testmempoolaccept", calls)
        ]

    def submit_package(self, raw_transactions: Sequence[bytes]) -> list[PublishResult]:
        """Give a parent and its child to the node together, so that the child's fee counts for
        both. A node without `submitpackage` (before release 26) gets them one by one.
        """
        package = [raw.hex() for raw in raw_transactions]
        try:
            told = self._rpc.call("submitpackage", package, _NO_LIMIT)
        except RpcRefused as refused:
            if refused.code == _METHOD_NOT_FOUND:
                return self.send_many(raw_transactions)
            result = core_answers.refused(refused.code, refused.message)
            return [result for _ in raw_transactions]
        by_txid = {result["txid"]: result for result in told["tx-results"].values()}
        txids = [str(Transaction.parse(raw).txid()) for raw in raw_transactions]
        return [
            core_answers.package_result(by_txid.get(txid), in_words(told["package_msg"]))
            for txid in txids
        ]

    # -- fees --

    def feerates(self, targets: Sequence[int]) -> list[FeeratePerKw | None]:
        """The node's estimates for these numbers of blocks, rounded up; None where it has none."""
        answers = self._rpc.batch("estimatesmartfee", [(target,) for target in targets])
        return [core_answers.estimate(answer) for answer in answers]

    def mempool_fees(self) -> MempoolFees:
        """What the node's mempool asks for now, rounded up."""
        told = self._rpc.call("getmempoolinfo")
        floor = max(Decimal(told["mempoolminfee"]), Decimal(told["minrelaytxfee"]))
        increment = core_answers.feerate_per_kw(told["incrementalrelayfee"])
        return MempoolFees(core_answers.feerate_per_kw(floor), increment)


def _check_is(raw: bytes, block_hash: BlockHash) -> None:
    try:
        found = parse_header(raw).hash
    except MalformedBlock as error:
        raise BlockUnavailable(f"block {block_hash} came damaged: {error}") from error
    if found != block_hash:
        raise BlockUnavailable(f"asked for block {block_hash}, the Bitcoin node gave {found}")
