"""HTLCs of a mined commitment that nobody can claim from it: upstream they fail once it is buried.

Before that a reorg may bring the other commitment, where the peer can claim them (U3, U8).
"""

from __future__ import annotations

from collections.abc import Sequence

from contractcourt.alarms import AlarmKind
from contractcourt.arbitrator import contracts, htlcs
from contractcourt.arbitrator.classification import classify
from contractcourt.arbitrator.depth import depth_of, final_height, required_depth
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3.recognition import CommitmentOutput
from contractcourt.case import Case, FundingSpend
from contractcourt.contract import Contract, ContractKind, ContractStage
from contractcourt.effects import CloseKind

#: Closes after which an offered HTLC without an output is lost to nobody. On a commitment we
#: can't read the peer may still claim any of them, so none is failed (users_ask L14).
_HTLCS_KNOWN = frozenset({CloseKind.LOCAL, CloseKind.REMOTE, CloseKind.REMOTE_PENDING})


def settle_when_buried(
    hearing: Hearing, spend: FundingSpend, tx: Transaction, outputs: Sequence[CommitmentOutput]
) -> None:
    """Fail what is on none of the `outputs` of this `tx` that were told, if it is buried."""
    if _is_settled_now(hearing, spend):
        _fail_missing(hearing, spend, tx, outputs)


def settle(hearing: Hearing, before: Case) -> None:
    """A close that was acted on before its full depth, as a breach is: fail upstream at that.

    And whenever an output of a breach is out of the cheater's reach, or the node tells an HTLC
    late. What is closed by this very event was settled as it closed.
    """
    case, spend = hearing.case, hearing.case.funding_spend
    if spend is None or not (before.closed and case.closed):
        return
    depth = required_depth(case.channel.capacity_sat)
    was_buried = depth_of(spend.height, before.best_height) >= depth
    settled = spend.kind is not CloseKind.BREACH or case.contracts == before.contracts
    due = not (was_buried and settled) or _told_more(before, case)
    if due and _is_settled_now(hearing, spend):
        tx = Transaction.parse(spend.tx)
        outputs = contracts.recognised(case.channel, classify(case, tx), tx)
        _fail_missing(hearing, spend, tx, outputs)


def _told_more(before: Case, after: Case) -> bool:
    """The node told a commitment: its HTLCs may stand on no output of the one that is mined."""
    return (
        before.local_commitment is not after.local_commitment
        or before.remote_commitments is not after.remote_commitments
    )


def _is_settled_now(hearing: Hearing, spend: FundingSpend) -> bool:
    """The commitment is buried, and says which HTLCs nobody can claim from it (U3, U8)."""
    if spend.kind is not CloseKind.BREACH and spend.kind not in _HTLCS_KNOWN:
        return False
    depth = required_depth(hearing.case.channel.capacity_sat)
    if depth_of(spend.height, hearing.case.best_height) < depth:
        hearing.wake_at(final_height(spend.height, depth), "the commitment is buried")
        return False
    return True


def _fail_missing(
    hearing: Hearing, spend: FundingSpend, tx: Transaction, outputs: Sequence[CommitmentOutput]
) -> None:
    """Fail upstream what nobody can claim from it. `outputs`: those of `tx` that were told."""
    held = hearing.case.contracts
    if spend.kind is CloseKind.BREACH:
        held = tuple(c for c in held if c.kind is ContractKind.REVOKED_HTLC and _is_open(c))
        if any(contract.htlc is None for contract in held):
            return  # It may be anybody's.
    elif len(outputs) < len(tx.outputs):
        _alarm_unknown_output(hearing, spend)
        return  # It may be of any HTLC (L14).
    htlcs.fail_missing_upstream(hearing, contracts.htlc_ids_with_output(held))


def _alarm_unknown_output(hearing: Hearing, spend: FundingSpend) -> None:
    hearing.alarm(
        AlarmKind.UNKNOWN_OUTPUT,
        f"commitment {spend.commitment_number} that is mined (transaction {spend.txid}) has an "
        "output that the node did not tell: if it is an HTLC's only the node can claim it, "
        "and no HTLC is failed upstream for not being there",
    )


def _is_open(contract: Contract) -> bool:
    """The cheater may still claim it: what we gave up nobody has taken."""
    return contract.given_up or contract.stage is not ContractStage.RESOLVED
