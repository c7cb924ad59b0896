"""May this transaction enter the mempool? Bitcoin Core's checks in their order, with their texts.

Core 29 to 32 as a small model: consensus of inputs, amounts, locks and scripts in full (scripts by
the kernel), of policy the forms, dust, fee floors and replacement by fee. Without Core's stricter
script flags, cluster limits and TRUC rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from chain.devnet import standard
from chain.devnet.coins import Coin
from chain.devnet.feerate import COIN, fee_at, feerate_text, money
from chain.devnet.mempool import Entry, Mempool
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.units import Txid

MAX_MONEY = 21_000_000 * COIN
COINBASE_MATURITY = 100
#: Core's `minrelaytxfee` and `incrementalrelayfee` since 30.0, in satoshi per kvB.
RELAY_FLOOR = 100
_NULL_OUTPOINT = bytes(32) + b"\xff\xff\xff\xff"


class RefusalKind(StrEnum):
    """What a refusal means to the calls that report it."""

    INVALID = "invalid"
    MISSING_INPUTS = "missing inputs"
    ALREADY_KNOWN = "already in the mempool"
    TOO_CHEAP = "alone it pays too little; a package may carry it"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Core's reject reason and the details after it."""

    reason: str
    details: str = ""
    kind: RefusalKind = RefusalKind.INVALID

    def __str__(self) -> str:
        return f"{self.reason}, {self.details}" if self.details else self.reason


def check_form(tx: Transaction) -> Refusal | None:
    """What is wrong with a transaction by itself (`CheckTransaction`, `IsStandardTx`)."""
    if not tx.outputs:
        return Refusal("bad-txns-vout-empty")
    if any(output.value >= 1 << 63 for output in tx.outputs):
        return Refusal("bad-txns-vout-negative")
    if any(output.value > MAX_MONEY for output in tx.outputs):
        return Refusal("bad-txns-vout-toolarge")
    if sum(output.value for output in tx.outputs) > MAX_MONEY:
        return Refusal("bad-txns-txouttotal-toolarge")
    outpoints = [item.outpoint for item in tx.inputs]
    if len(set(outpoints)) != len(outpoints):
        return Refusal("bad-txns-inputs-duplicate")
    if outpoints == [_NULL_OUTPOINT]:
        return Refusal("coinbase")
    if _NULL_OUTPOINT in outpoints:
        return Refusal("bad-txns-prevout-null")
    reason = standard.unfit(tx)
    return Refusal(reason) if reason else None


def check_amounts(tx: Transaction, coins: Sequence[Coin], height: int) -> Refusal | None:
    """Maturity and sums, for a block at `height` (`Consensus::CheckTxInputs`)."""
    for coin in coins:
        if coin.coinbase and height - coin.height < COINBASE_MATURITY:
            depth = height - coin.height
            return Refusal(
                "bad-txns-premature-spend-of-coinbase", f"tried to spend coinbase at depth {depth}"
            )
    came, goes = sum(coin.value for coin in coins), sum(output.value for output in tx.outputs)
    if came < goes:
        return Refusal(
            "bad-txns-in-belowout", f"value in ({money(came)}) < value out ({money(goes)})"
        )
    return None


def check_dust(tx: Transaction, fee: int) -> Refusal | None:
    """Dust only without a fee, so that nobody mines it alone (`PreCheckEphemeralTx`)."""
    if fee and any(standard.is_dust(output) for output in tx.outputs):
        return Refusal("dust", "tx with dust output must be 0-fee")
    return None


def check_floor(fee: int, vsize: int, mempool_floor: int) -> Refusal | None:
    """The two fee floors (`CheckFeeRate`), rates in satoshi per kvB."""
    needed = fee_at(mempool_floor, vsize)
    if mempool_floor > RELAY_FLOOR and fee < needed:
        return Refusal("mempool min fee not met", f"{fee} < {needed}", RefusalKind.TOO_CHEAP)
    needed = fee_at(RELAY_FLOOR, vsize)
    if fee < needed:
        return Refusal("min relay fee not met", f"{fee} < {needed}", RefusalKind.TOO_CHEAP)
    return None


def script_refusal(entry: Entry, bad_input: int, why: str) -> Refusal:
    """An input's script failed; `why` in Core's words for script errors."""
    spent = entry.tx.inputs[bad_input].outpoint
    return Refusal(
        f"mempool-script-verify-flag-failed ({why})",
        f"input {bad_input} of {entry.txid} (wtxid {entry.wtxid}), spending {spent}",
    )


def conflicts_of(mempool: Mempool, entries: Sequence[Entry]) -> list[Entry]:
    """The waiting transactions that spend an output which one of `entries` spends too."""
    found: dict[Txid, Entry] = {}
    for entry in entries:
        for item in entry.tx.inputs:
            rival = mempool.spender(item.outpoint)
            if rival is not None and rival.txid != entry.txid:
                found[rival.txid] = rival
    return list(found.values())


def check_replacement(mempool: Mempool, entries: Sequence[Entry]) -> Refusal | None:
    """Full replace by fee: more for each byte than each rival, more in all than all that leaves.

    `entries` is one transaction or a package that stands together.
    """
    rivals = conflicts_of(mempool, entries)
    if not rivals:
        return None
    newest = entries[-1].txid
    leaving = {item.txid: item for rival in rivals for item in mempool.descendants(rival)}
    for entry in entries:
        for parent in mempool.parents(entry):
            if any(item.txid == parent.txid for item in leaving.values()):
                return Refusal(
                    "bad-txns-spends-conflicting-tx",
                    f"{entry.txid} spends conflicting transaction {parent.txid}",
                )
    fee, vsize = sum(item.fee for item in entries), sum(item.vsize for item in entries)
    text = f"rejecting replacement {newest}"
    for rival in rivals:
        if fee * rival.vsize <= rival.fee * vsize:
            new, old = feerate_text(fee, vsize), feerate_text(rival.fee, rival.vsize)
            details = f"{text}; new feerate {new} <= old feerate {old}"
            return Refusal("insufficient fee", details, RefusalKind.TOO_CHEAP)
    lost = sum(item.fee for item in leaving.values())
    if fee < lost:
        return Refusal(
            "insufficient fee",
            f"{text}, less fees than conflicting txs; {money(fee)} < {money(lost)}",
            RefusalKind.TOO_CHEAP,
        )
    if fee - lost < fee_at(RELAY_FLOOR, vsize):
        return Refusal(
            "insufficient fee",
            f"{text}, not enough additional fees to relay; "
            f"{money(fee - lost)} < {money(fee_at(RELAY_FLOOR, vsize))}",
            RefusalKind.TOO_CHEAP,
        )
    return None
