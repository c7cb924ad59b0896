"""What the answers of Bitcoin Core's RPC mean, one by one, in the words of `view`.

Only the fields that are needed are read: answers gain and lose others with every release
(users_ask B11).
"""

from __future__ import annotations

from decimal import Decimal
from math import ceil
from typing import Any

from chain.errors import RpcRefused
from chain.refusals import outcome_of
from chain.sense import in_words
from chain.view import PublishResult, ScannedOutput, UnspentOutput
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.events import PublishOutcome
from contractcourt.units import BlockHash, BlockHeight, FeeratePerKw, Satoshi, Script, Txid

_INVALID_PARAMETER = -8
#: `RPC_VERIFY_REJECTED`, the code of a refusal that comes as text alone.
_REJECTED = -26
_SAT_PER_BTC = 100_000_000
_MOST_SATOSHI = 21_000_000 * _SAT_PER_BTC
#: From here on a lock time is no height any more (BIP 113).
_HEIGHTS = 500_000_000
#: Weight units in 1000 virtual bytes are 4000: one kvB is four kw.
_KW_PER_KVB = 4


def height(answer: Any) -> BlockHeight:
    """A block's height. Raises ValueError for what is none, and would not fit where it is kept."""
    if type(answer) is not int or not 0 <= answer < _HEIGHTS:
        raise ValueError(f"{answer!r} is no height")
    return BlockHeight(answer)


def satoshi(btc: Any) -> Satoshi:
    """An amount as Core writes it, in BTC. Raises ValueError for one that there can't be."""
    amount = int(Decimal(btc) * _SAT_PER_BTC)
    if not 0 <= amount <= _MOST_SATOSHI:
        raise ValueError(f"{btc!r} is no amount of BTC")
    return Satoshi(amount)


def feerate_per_kw(btc_per_kvb: Decimal | int) -> FeeratePerKw:
    """A rate as Core writes it (BTC for 1000 virtual bytes), rounded up to whole satoshi for kw.

    Exact below one satoshi for a byte too, where floors are since Core 30 (users_ask B9). Raises
    ValueError.
    """
    # Not by `//`, which on decimals cuts towards zero: a rate a little below the floor is refused.
    rate = ceil(Decimal(btc_per_kvb) * _SAT_PER_BTC / _KW_PER_KVB)
    if not 0 <= rate <= _MOST_SATOSHI:
        raise ValueError(f"{btc_per_kvb!r} is no feerate")
    return FeeratePerKw(rate)


def estimate(answer: Any) -> FeeratePerKw | None:
    """Of `estimatesmartfee`, rounded up; None where the node has no estimate."""
    if isinstance(answer, RpcRefused):  # "Fee estimation disabled", under `-blocksonly`
        return None
    return feerate_per_kw(answer["feerate"]) if "feerate" in answer else None


def block_hash(answer: Any) -> BlockHash | None:
    """Of `getblockhash`; None above the tip. Raises RpcRefused for any other refusal."""
    if isinstance(answer, RpcRefused):
        if answer.code == _INVALID_PARAMETER:  # "Block height out of range"
            return None
        raise answer
    return BlockHash.parse(answer)


def unspent_output(answer: Any) -> UnspentOutput | None:
    """Of `gettxout`; None for one that is spent or never was. Raises RpcRefused."""
    if isinstance(answer, RpcRefused):
        raise answer
    if answer is None:
        return None
    return UnspentOutput(
        value_sat=satoshi(answer["value"]),
        script_pubkey=Script.parse(answer["scriptPubKey"]["hex"]),
        confirmations=height(answer["confirmations"]),
    )


def scanned_output(unspent: Any) -> ScannedOutput:
    """One output of `scantxoutset`."""
    return ScannedOutput(
        outpoint=OutPoint.of(Txid.parse(unspent["txid"]), int(unspent["vout"])),
        value_sat=satoshi(unspent["amount"]),
        script_pubkey=Script.parse(unspent["scriptPubKey"]),
        height=height(unspent["height"]),
        coinbase=bool(unspent.get("coinbase", False)),
    )


def refused(code: int, reason: str) -> PublishResult:
    """A transaction that the node does not take, by the code and the text of its refusal."""
    return PublishResult(outcome_of(code, reason), reason)


def tested(answer: Any) -> PublishResult:
    """Of `testmempoolaccept` for one transaction."""
    if isinstance(answer, RpcRefused):
        return refused(answer.code, answer.message)
    [told] = answer
    if told.get("allowed"):
        return PublishResult(PublishOutcome.ACCEPTED)
    # Since release 29 the details say more than the reason; they begin with it.
    reason = in_words(told.get("reject-details") or told.get("reject-reason", ""))
    return refused(_REJECTED, reason)


def package_result(told: Any, message: str) -> PublishResult:
    """Of `submitpackage` for one of them; one it did not come to is told of by `message`."""
    if told is None or told.get("error") == "package-not-validated":
        return refused(_REJECTED, message)
    reason = told.get("error")
    if reason is None:
        return PublishResult(PublishOutcome.ACCEPTED)
    return refused(_REJECTED, in_words(reason))


def publish_result(answer: Any) -> PublishResult:
    """Of `sendrawtransaction`: a refusal is an answer. Of what was taken it says the txid."""
    if isinstance(answer, RpcRefused):
        return refused(answer.code, answer.message)
    Txid.parse(answer)
    return PublishResult(PublishOutcome.ACCEPTED)
