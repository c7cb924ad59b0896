"""Core's calls about transactions and the mempool. Method and parameter names are Core's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chain.devnet import answers, arguments
from chain.devnet.admission import Admitted
from chain.devnet.answers import Json
from chain.devnet.errors import ErrorCode, RpcError
from chain.devnet.feerate import COIN, btc, fee_at, satoshi_of
from chain.devnet.mempool import Entry, wtxid_of
from chain.devnet.node import Node
from chain.devnet.policy import RELAY_FLOOR, Refusal, RefusalKind
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.units import Txid

_DEFAULT_MAX_FEERATE = "0.10"
_FEE_EXCEEDS = "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)"
_BURN_EXCEEDS = "Unspendable output exceeds maximum configured by user (maxburnamount)"
_NO_SUCH_TX = (
    "No such mempool or blockchain transaction. Use gettransaction for wallet transactions."
)
_NO_SUCH_TX_IN_BLOCK = (
    "No such transaction found in the provided block. Use gettransaction for wallet transactions."
)
_NO_SUCH_MEMPOOL_TX = (
    "No such mempool transaction. Use -txindex or provide a block hash to enable blockchain "
    "transaction queries. Use gettransaction for wallet transactions."
)
_NOT_A_FAMILY = (
    "package topology disallowed. not child-with-parents or parents depend on each other."
)
_NO_ESTIMATE = "Insufficient data or no feerate found"


class TransactionCalls:
    """Look at, try and send transactions."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._mempool = node.mempool

    def getrawmempool(self, verbose: Any = False, mempool_sequence: Any = False) -> Any:
        """Txids of the mempool, or with `verbose` its entries by txid."""
        if verbose:
            return {item.txid.hex(): answers.entry(self._mempool, item) for item in self._mempool}
        txids = [item.txid.hex() for item in self._mempool]
        return {"txids": txids, "mempool_sequence": 1} if mempool_sequence else txids

    def getmempoolentry(self, txid: Any) -> Json:
        """One transaction of the mempool."""
        item = self._mempool.get(arguments.txid(txid))
        if item is None:
            raise RpcError(ErrorCode.INVALID_ADDRESS_OR_KEY, "Transaction not in mempool")
        return answers.entry(self._mempool, item)

    def getmempoolinfo(self) -> Json:
        """Size and fee floors of the mempool."""
        size = sum(item.vsize for item in self._mempool)
        return {
            "loaded": True,
            "size": len(self._mempool),
            "bytes": size,
            "usage": size * 4,
            "total_fee": btc(sum(item.fee for item in self._mempool)),
            "maxmempool": 300_000_000,
            "mempoolminfee": btc(max(self._node.admission.floor, RELAY_FLOOR)),
            "minrelaytxfee": btc(RELAY_FLOOR),
            "incrementalrelayfee": btc(RELAY_FLOOR),
            "unbroadcastcount": 0,
            "fullrbf": True,
        }

    def estimatesmartfee(self, conf_target: Any, estimate_mode: Any = "economical") -> Json:
        """The feerate that `devnet_set_fee_estimate` set; else Core's words for knowing none."""
        target = arguments.whole_number(conf_target, "conf_target")
        if not 1 <= target <= 1008:
            text = "Invalid conf_target, must be between 1 and 1008"
            raise RpcError(ErrorCode.INVALID_PARAMETER, text)
        if str(estimate_mode).lower() not in ("unset", "economical", "conservative"):
            raise RpcError(ErrorCode.INVALID_PARAMETER, "Invalid estimate_mode parameter")
        estimate = self._node.fee_estimate
        if estimate is None:
            return {"errors": [_NO_ESTIMATE], "blocks": max(target, 2)}
        floor = max(self._node.admission.floor, RELAY_FLOOR)
        return {"feerate": btc(max(estimate, floor)), "blocks": max(target, 2)}

    def getrawtransaction(self, txid: Any, verbosity: Any = 0, blockhash: Any = None) -> Any:
        """A transaction of the mempool, of the chain (txindex) or of a named block."""
        wanted = arguments.txid(txid)
        chain = self._node.chain
        place = chain.found_in.get(wanted) if self._node.options.txindex else None
        entry = self._mempool.get(wanted)
        if blockhash is not None:
            block = arguments.block(chain, blockhash)
            body = chain.body(block)
            if wanted not in body.txids:
                raise RpcError(ErrorCode.INVALID_ADDRESS_OR_KEY, _NO_SUCH_TX_IN_BLOCK)
            place = block, body.txids.index(wanted)
        elif entry is not None:
            return self._shown(entry.tx, verbosity)
        if place is None:
            text = _NO_SUCH_TX if self._node.options.txindex else _NO_SUCH_MEMPOOL_TX
            raise RpcError(ErrorCode.INVALID_ADDRESS_OR_KEY, text)
        block, position = place
        answer = self._shown(chain.body(block).transactions[position], verbosity)
        if isinstance(answer, dict):
            answer |= {
                "blockhash": block.hash.hex(),
                "confirmations": max(answers.confirmations(chain, block), 0),
                "time": block.time,
                "blocktime": block.time,
            }
        return answer

    def gettxspendingprevout(self, outputs: Any, options: Any = None) -> list[Json]:
        """Who spends these outputs: in the mempool, and on the chain where the index is on."""
        indexed = self._node.options.txospenderindex
        mempool_only = (options or {}).get("mempool_only", not indexed)
        if not mempool_only and not indexed:
            text = "Mempool lacks a relevant spend, and txospenderindex is unavailable."
            raise RpcError(ErrorCode.MISC_ERROR, text)
        found = []
        for item in outputs:
            outpoint = arguments.outpoint(item["txid"], item["vout"])
            spender = self._mempool.spender(outpoint)
            named = {"txid": item["txid"], "vout": item["vout"]}
            if spender:
                named |= {"spendingtxid": spender.txid.hex()}
            elif not mempool_only:
                named |= self._confirmed_spender(outpoint)
            found.append(named)
        return found

    def _confirmed_spender(self, outpoint: OutPoint) -> Json:
        chain = self._node.chain
        for txid, (block, position) in chain.found_in.items():
            tx = chain.body(block).transactions[position]
            if position and any(item.outpoint == outpoint for item in tx.inputs):
                return {"spendingtxid": txid.hex(), "blockhash": block.hash.hex()}
        return {}

    def sendrawtransaction(
        self, hexstring: Any, maxfeerate: Any = _DEFAULT_MAX_FEERATE, maxburnamount: Any = 0
    ) -> str:
        """Offer a transaction to the mempool; one that is there already is no error."""
        tx = arguments.transaction(hexstring)
        _check_burn(tx, maxburnamount)
        admission = self._node.admission
        txid = tx.txid()
        if admission.is_in_utxo_set(tx):
            text = "Transaction outputs already in utxo set"
            raise RpcError(ErrorCode.VERIFY_ALREADY_IN_UTXO_SET, text)
        if txid in self._mempool:
            return txid.hex()
        if self._too_dear(tx, _limit(maxfeerate)):
            raise RpcError(ErrorCode.VERIFY_ERROR, _FEE_EXCEEDS)
        outcome = self._node.accept(tx)
        if isinstance(outcome, Refusal):
            missing = outcome.kind is RefusalKind.MISSING_INPUTS
            code = ErrorCode.VERIFY_ERROR if missing else ErrorCode.VERIFY_REJECTED
            raise RpcError(code, str(outcome))
        return txid.hex()

    def testmempoolaccept(self, rawtxs: Any, maxfeerate: Any = _DEFAULT_MAX_FEERATE) -> list[Json]:
        """Whether transactions would be accepted, one after the other; changes nothing."""
        txs = arguments.transactions(rawtxs)
        if not 1 <= len(txs) <= 25:
            text = "Array must contain between 1 and 25 transactions."
            raise RpcError(ErrorCode.INVALID_PARAMETER, text)
        limit = _limit(maxfeerate)
        outcomes: Sequence[Entry | Refusal | None] = self._node.admission.test(txs)
        outcomes = [*outcomes, *[None] * (len(txs) - len(outcomes))]
        return [_tried(tx, outcome, limit) for tx, outcome in zip(txs, outcomes, strict=True)]

    def submitpackage(
        self, package: Any, maxfeerate: Any = _DEFAULT_MAX_FEERATE, maxburnamount: Any = 0
    ) -> Json:
        """Parents and their child: one by one, and those that are too cheap alone together."""
        txs = arguments.transactions(package)
        for tx in txs:
            _check_burn(tx, maxburnamount)
        child_spends = {item.outpoint.txid for item in txs[-1].inputs} if txs else set()
        if len(txs) < 2 or any(tx.txid() not in child_spends for tx in txs[:-1]):
            raise RpcError(ErrorCode.VERIFY_ERROR, _NOT_A_FAMILY)
        limit = _limit(maxfeerate)
        if any(self._too_dear(tx, limit) for tx in txs):
            raise RpcError(ErrorCode.VERIFY_ERROR, "max feerate exceeded")
        outcomes = self._node.admission.accept_package(txs)
        return _package_answer(txs, outcomes)

    def _too_dear(self, tx: Transaction, limit: int) -> bool:
        """It would be accepted, but pays more than the caller's `limit` (0: none)."""
        tried = self._node.admission.test([tx])[0] if limit else None
        return isinstance(tried, Entry) and tried.fee > fee_at(limit, tried.vsize)

    def _shown(self, tx: Transaction, verbosity: Any) -> Any:
        return answers.transaction(tx, tx.txid()) if int(verbosity) else tx.serialize().hex()


def _limit(maxfeerate: Any) -> int:
    """Satoshi per kvB; 0 for none."""
    limit = satoshi_of(maxfeerate)
    if limit >= COIN:
        text = "Fee rates larger than or equal to 1BTC/kvB are not accepted"
        raise RpcError(ErrorCode.INVALID_PARAMETER, text)
    return limit


def _check_burn(tx: Transaction, maxburnamount: Any) -> None:
    limit = satoshi_of(maxburnamount)
    for output in tx.outputs:
        if output.script_pubkey[:1] == b"\x6a" and output.value > limit:
            raise RpcError(ErrorCode.VERIFY_ERROR, _BURN_EXCEEDS)


def _fees(entry: Entry) -> Json:
    rate = btc(entry.fee * 1000 // entry.vsize)
    return {
        "base": btc(entry.fee),
        "effective-feerate": rate,
        "effective-includes": [entry.wtxid.hex()],
    }


def _tried(tx: Transaction, outcome: Entry | Refusal | None, limit: int) -> Json:
    answer: Json = {"txid": tx.txid().hex(), "wtxid": wtxid_of(tx.serialize()).hex()}
    if isinstance(outcome, Entry):
        if limit and outcome.fee > fee_at(limit, outcome.vsize):
            return answer | {"allowed": False, "reject-reason": "max-fee-exceeded"}
        return answer | {"allowed": True, "vsize": outcome.vsize, "fees": _fees(outcome)}
    if outcome is None:
        return answer
    missing = outcome.kind is RefusalKind.MISSING_INPUTS
    return answer | {
        "allowed": False,
        "reject-reason": "missing-inputs" if missing else outcome.reason,
        "reject-details": str(outcome),
    }


def _package_answer(txs: list[Transaction], outcomes: dict[Txid, Admitted | Refusal]) -> Json:
    results: Json = {}
    replaced: list[str] = []
    success = True
    for tx in txs:
        outcome = outcomes[tx.txid()]
        result: Json = {"txid": tx.txid().hex()}
        if isinstance(outcome, Admitted):
            result |= {"vsize": outcome.entry.vsize, "fees": _fees(outcome.entry)}
            replaced += [item.txid.hex() for item in outcome.replaced]
        elif outcome.kind is not RefusalKind.ALREADY_KNOWN:
            success = False
            result["error"] = str(outcome)
        results[wtxid_of(tx.serialize()).hex()] = result
    message = "success" if success else "transaction failed"
    return {"package_msg": message, "tx-results": results, "replaced-transactions": replaced}
