"""A sweep: contracts' outputs spent to our node's script, its fee taken from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut, compact_size
from contractcourt.bolt3 import weights
from contractcourt.contract import Contract, ContractKind
from contractcourt.errors import LawError
from contractcourt.units import FeeratePerKw, Satoshi, Script, WeightUnits

_FINAL_BUT_REPLACEABLE = 0xFFFFFFFD
_OVERHEAD = 4 * (4 + 1 + 1 + 4) + 2


@dataclass(frozen=True, slots=True)
class Sweep:
    """An unsigned sweep. Its txid is final, since only witnesses are missing."""

    tx: Transaction
    fee_sat: Satoshi
    weight: WeightUnits


@dataclass(frozen=True, slots=True)
class NotWorthIt:
    """The fee would take half of it or leave dust: nobody should publish this now."""

    value_sat: Satoshi
    fee_sat: Satoshi
    dust_sat: Satoshi


def dust_threshold(script_pubkey: Script) -> Satoshi:
    """The least value of an output that nodes relay (BOLT 3, "Dust Limits"). Satoshi."""
    match len(script_pubkey):
        case 22:
            return Satoshi(294)
        case 34:
            return Satoshi(330)
        case 23:
            return Satoshi(540)
        case _:
            return Satoshi(546)


def sweep_weight(contracts: Sequence[Contract], sweep_script: Script) -> WeightUnits:
    """The signed sweep's weight at most, in whole virtual bytes.

    Nodes hold the fee against the virtual size, which is rounded up.
    """
    output = 4 * (8 + len(compact_size(len(sweep_script))) + len(sweep_script))
    weight = _OVERHEAD + output + sum(_claim_weight(c) for c in contracts)
    return WeightUnits(-(-weight // 4) * 4)


def _claim_weight(contract: Contract) -> WeightUnits:
    match contract.kind:
        case ContractKind.TO_LOCAL | ContractKind.SECOND_LEVEL:
            return weights.delayed_claim()
        case ContractKind.TO_REMOTE:
            return weights.to_remote_claim(anchors=contract.csv_delay > 0)
        case ContractKind.ANCHOR:
            return weights.anchor_claim()
        case ContractKind.OFFERED_HTLC:
            return weights.timeout_claim(anchors=contract.csv_delay > 0)
        case ContractKind.RECEIVED_HTLC:
            return weights.preimage_claim(anchors=contract.csv_delay > 0)
        case ContractKind.REVOKED_TO_LOCAL | ContractKind.REVOKED_SECOND_LEVEL:
            return weights.revoked_delayed_claim()
        case ContractKind.REVOKED_HTLC:
            # Which of the two scripts it is may not be known: the heavier one.
            return weights.revoked_htlc_claim(offered_by_owner=False, anchors=True)
        case ContractKind.UNKNOWN_SPEND:
            raise LawError("an output that no rule explains can't be swept")
        case unreachable:
            assert_never(unreachable)


def build_sweep(
    contracts: Sequence[Contract], sweep_script: Script, feerate_per_kw: FeeratePerKw
) -> Sweep | NotWorthIt:
    """The transaction that takes these outputs to `sweep_script` at this feerate.

    The fee is rounded up, so that a rate at the node's floor is never just below it. Raises
    LawError for a contract that no rule can spend.
    """
    weight = sweep_weight(contracts, sweep_script)
    fee = Satoshi(-(-feerate_per_kw * weight // 1000))
    value = Satoshi(sum(contract.value_sat for contract in contracts))
    dust = dust_threshold(sweep_script)
    if value - fee < dust or fee * 2 > value:
        return NotWorthIt(value, fee, dust)
    tx = Transaction(
        version=2,
        inputs=tuple(TxIn(c.outpoint, sequence=_sequence(c)) for c in contracts),
        outputs=(TxOut(value - fee, bytes(sweep_script)),),
        locktime=max(_locktime(c) for c in contracts),
    )
    return Sweep(tx, fee, weight)


def _sequence(contract: Contract) -> int:
    """BIP 68 delay where the script demands one, else merely replaceable (BIP 125)."""
    return contract.csv_delay or _FINAL_BUT_REPLACEABLE


def _locktime(contract: Contract) -> int:
    """An HTLC that we take back by its expiry demands it; nothing else does (R5)."""
    if contract.kind is ContractKind.OFFERED_HTLC and contract.htlc is not None:
        return contract.htlc.cltv_expiry
    return 0
