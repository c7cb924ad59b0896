"""By when each contract should be spent, and the most that fees may take for it.

What nobody else can take has no deadline. An offered HTLC shall be back while the HTLC upstream
still lives; a received one before the peer may take it back; what a cheater put on chain before
it can move on. Budgets are shares of the value, by the node's policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from contractcourt.arbitrator import htlcs
from contractcourt.bolt3.commitment import is_trimmed
from contractcourt.case import Case
from contractcourt.channel import Direction, Htlc, LocalCommitment, Side
from contractcourt.contract import Contract, ContractKind
from contractcourt.fee_rules import DEFAULT_FEE_POLICY, held_for_us
from contractcourt.policy import Policy
from contractcourt.units import BlockHeight, Satoshi

#: Of our main output, for a commitment that nothing hurries.
_CALM_PERCENT = 5


def deadline(case: Case, contract: Contract) -> BlockHeight | None:
    """The height by which its spend should be mined; None when nothing is lost by waiting."""
    match contract.kind:
        case (
            ContractKind.TO_LOCAL
            | ContractKind.TO_REMOTE
            | ContractKind.SECOND_LEVEL
            | ContractKind.ANCHOR
            | ContractKind.UNKNOWN_SPEND
        ):
            return None
        case ContractKind.OFFERED_HTLC | ContractKind.RECEIVED_HTLC:
            return None if contract.htlc is None else htlc_deadline(case.policy, contract.htlc)
        case (
            ContractKind.REVOKED_TO_LOCAL
            | ContractKind.REVOKED_HTLC
            | ContractKind.REVOKED_SECOND_LEVEL
        ):
            # The delay that our node asked of the peer's outputs: in the block that ends it the
            # peer's spend may be mined, so that ours has to be before (P1, BIP 68).
            return BlockHeight(contract.confirmed_height + case.channel.local.to_self_delay - 1)
        case unreachable:
            assert_never(unreachable)


def budget_sat(case: Case, contract: Contract) -> Satoshi:
    """The most that may be paid for its spend."""
    revoked = contract.kind in (
        ContractKind.REVOKED_TO_LOCAL,
        ContractKind.REVOKED_HTLC,
        ContractKind.REVOKED_SECOND_LEVEL,
    )
    percent = case.policy.breach_budget_percent if revoked else case.policy.budget_percent
    if deadline(case, contract) is None:
        # What nobody else can take is never worth more: the signer has the same limit.
        percent = min(percent, DEFAULT_FEE_POLICY.max_share_percent)
    return Satoshi(contract.value_sat * percent // 100)


def commitment_deadline(case: Case, commitment: LocalCommitment) -> BlockHeight | None:
    """By when our commitment should confirm, for its HTLCs' sake; None without any at stake."""
    heights = [last_commitment_height(case.policy, h) for h in _hurrying(case, commitment)]
    return min(heights, default=None)


def commitment_budget_sat(case: Case, commitment: LocalCommitment) -> Satoshi:
    """The most that may be paid, beyond its own fee, to have our commitment confirmed."""
    hurrying = hurrying_sat(case, commitment)
    calm = commitment.to_local_msat // 1000 * _CALM_PERCENT // 100
    most = held_for_us(commitment) * DEFAULT_FEE_POLICY.max_bump_percent // 100
    return Satoshi(min(max(hurrying * case.policy.budget_percent // 100, calm), most))


def _hurrying(case: Case, commitment: LocalCommitment) -> Iterator[Htlc]:
    """HTLCs that can be lost by waiting for our commitment to be mined.

    Those with an output on it; and those that we offered and that stand on the peer's alone: until
    ours is mined the peer may claim them, so that they can't be failed upstream.
    """
    there = [
        htlc
        for htlc in commitment.htlcs
        if not is_trimmed(case.channel, Side.LOCAL, commitment.feerate_per_kw, htlc)
    ]
    offered = {htlc.id for htlc in there if htlc.direction is Direction.OFFERED}
    theirs_alone = {
        htlc.id: htlc
        for remote in case.remote_commitments
        for htlc in remote.htlcs
        if htlc.direction is Direction.OFFERED
        and htlc.id not in offered
        and not is_trimmed(case.channel, Side.REMOTE, remote.feerate_per_kw, htlc)
    }
    for htlc in (*there, *theirs_alone.values()):
        if htlcs.broadcast_height(case, htlc) is not None:
            yield htlc


def decided_commitment(case: Case) -> LocalCommitment | None:
    """The commitment of ours that was decided to be published."""
    decided = case.force_close
    return None if decided is None else next((c for c in case.held if c.txid == decided.txid), None)


def hurrying_sat(case: Case, commitment: LocalCommitment) -> Satoshi:
    """What is lost by waiting for our commitment."""
    return Satoshi(sum(htlc.amount_msat // 1000 for htlc in _hurrying(case, commitment)))


def htlc_deadline(policy: Policy, htlc: Htlc) -> BlockHeight:
    """From here on somebody else may have an HTLC: the peer, or upstream."""
    if htlc.direction is Direction.RECEIVED:
        return htlc.cltv_expiry
    return BlockHeight(htlc.cltv_expiry + policy.outgoing_deadline_delta)


def last_commitment_height(policy: Policy, htlc: Htlc) -> BlockHeight:
    """Half of the time for the commitment, half for the HTLC transaction that follows it."""
    if htlc.direction is Direction.RECEIVED:
        return BlockHeight(htlc.cltv_expiry - policy.incoming_broadcast_delta // 2)
    return BlockHeight(htlc.cltv_expiry + policy.outgoing_deadline_delta // 2)
