"""What each contract of a case waits for, in words for a tired person."""

from __future__ import annotations

from typing import assert_never

from contractcourt.arbitrator.depth import final_height
from contractcourt.contract import Contract, ContractKind, ContractStage
from contractcourt.policy import Policy
from contractcourt.resolvers.commit_output import maturity_height
from contractcourt.units import BlockHeight, FeeratePerKw
from storage.sweep_inputs import StoredSweep, SweepState

_WEIGHT_OF_A_VBYTE = 4


def words(
    contract: Contract, sweep: StoredSweep | None, policy: Policy, height: BlockHeight
) -> str:
    """What has to happen next, and by which height."""
    match contract.stage:
        case ContractStage.IMMATURE:
            return _immature(contract, height)
        case ContractStage.SWEEPING:
            return _sweeping(contract, sweep, height)
        case ContractStage.SPENT:
            return _spent(contract, policy, height)
        case ContractStage.RESOLVED:
            return _resolved(contract)
        case ContractStage.UNRESOLVED:
            return "no rule explains it: see the alarms"
        case unreachable:
            assert_never(unreachable)


def _immature(contract: Contract, height: BlockHeight) -> str:
    expiry = contract.htlc.cltv_expiry if contract.htlc else BlockHeight(0)
    match contract.kind:
        case ContractKind.OFFERED_HTLC:
            return f"we take it back {_from(expiry, height)}, unless the peer has its preimage"
        case ContractKind.RECEIVED_HTLC:
            return f"waits for its preimage; the peer takes it back {_from(expiry, height)}"
        case _:
            first = BlockHeight(maturity_height(contract) + 1)
            return f"waits for its delay; swept {_from(first, height)}"


def _sweeping(contract: Contract, sweep: StoredSweep | None, height: BlockHeight) -> str:
    if sweep is None:
        return "its transaction is published until it is mined"
    if sweep.state is SweepState.QUARANTINED:
        return f"set aside: {sweep.reason} (contractcourt sweep release {contract.outpoint})"
    deadline = sweep.wish.effect.deadline
    by = "" if deadline is None else f"; to be mined {_by(deadline, height)}"
    if sweep.reason is not None:
        return f"to be swept: {sweep.reason}{by}"
    if not sweep.feerate_per_kw:
        return f"to be swept{by}"
    return f"its sweep offers {sat_per_vbyte(sweep.feerate_per_kw)} sat/vB{by}"


def _spent(contract: Contract, policy: Policy, height: BlockHeight) -> str:
    if contract.spend is None:
        return "spent"
    final = final_height(contract.spend.height, policy.final_depth)
    return f"spent by {_whom(contract)} at {contract.spend.height}; final {_from(final, height)}"


def _resolved(contract: Contract) -> str:
    if contract.spend is None:
        received = contract.kind is ContractKind.RECEIVED_HTLC
        return "the peer's, for its preimage never came" if received else "given up"
    return f"done: spent by {_whom(contract)} at {contract.spend.height}"


def _whom(contract: Contract) -> str:
    return {True: "us", False: "the peer", None: "somebody"}[contract.ours]


def sat_per_vbyte(feerate: FeeratePerKw) -> str:
    """As people say fees."""
    return f"{feerate * _WEIGHT_OF_A_VBYTE / 1000:.2f}".rstrip("0").rstrip(".")


def _from(at: BlockHeight, height: BlockHeight) -> str:
    left = at - height
    return f"from height {at} ({_blocks(left)})" if left > 0 else f"from height {at} (reached)"


def _by(at: BlockHeight, height: BlockHeight) -> str:
    left = at - height
    return f"by height {at} ({_blocks(left)})" if left > 0 else f"by height {at} (past)"


def _blocks(count: int) -> str:
    return "1 block left" if count == 1 else f"{count} blocks left"
