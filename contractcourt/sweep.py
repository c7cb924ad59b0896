"""A sweep: contracts' outputs spent to our node's script, its fee taken from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut, compact_size
from contractcourt.contract import Contract, ContractKind
from contractcourt.units import FeeratePerKw, Satoshi, Script, WeightUnits

_FINAL_BUT_REPLACEABLE = 0xFFFFFFFD
_OVERHEAD = 4 * (4 + 1 + 1 + 4) + 2
_INPUT = 4 * 41

#: Weight of each kind's witness at its largest (`bolt5_rules.md`, "Weights of claims").
_P2WPKH_WITNESS = 109
_WITNESS = {
    ContractKind.TO_LOCAL: 156,
    ContractKind.TO_REMOTE: 113,
    ContractKind.ANCHOR: 116,
    ContractKind.OFFERED_HTLC: 219,
    ContractKind.RECEIVED_HTLC: 245,
    ContractKind.REVOKED_TO_LOCAL: 160,
    ContractKind.REVOKED_HTLC: 252,
}


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
    """The signed sweep's weight at most."""
    output = 4 * (8 + len(compact_size(len(sweep_script))) + len(sweep_script))
    inputs = sum(_INPUT + _witness_weight(contract) for contract in contracts)
    return WeightUnits(_OVERHEAD + output + inputs)


def _witness_weight(contract: Contract) -> int:
    if contract.kind is ContractKind.TO_REMOTE and len(contract.script_pubkey) == 22:
        return _P2WPKH_WITNESS
    return _WITNESS[contract.kind]


def build_sweep(
    contracts: Sequence[Contract], sweep_script: Script, feerate_per_kw: FeeratePerKw
) -> Sweep | NotWorthIt:
    """The transaction that takes these outputs to `sweep_script` at this feerate.

    The fee is rounded up, so that a rate at the node's floor is never just below it.
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
        locktime=0,
    )
    return Sweep(tx, fee, weight)


def _sequence(contract: Contract) -> int:
    """BIP 68 delay where the script demands one, else merely replaceable (BIP 125)."""
    return contract.csv_delay or _FINAL_BUT_REPLACEABLE
