"""The design's promises as statements about one world, true after every event."""

from __future__ import annotations

from contractcourt.account import account_of
from contractcourt.arbitrator.depth import closing_depth, depth_of
from contractcourt.case import CLOSED_STATES, State
from contractcourt.contract import ContractKind, ContractStage
from contractcourt.effects import MarkChannelClosed, SweepOutput
from tests.scenarios.memory import MemoryCourt


def assert_promises(court: MemoryCourt) -> None:
    """Raises AssertionError naming the first promise that does not hold."""
    _closed_with_its_resolutions(court)
    _one_commitment_of_ours(court)
    _judged_by_the_chain(court)
    _resolved_when_all_is_buried(court)
    _never_failed_and_fulfilled(court)
    _nothing_asked_without_a_budget(court)
    _every_satoshi_accounted_for(court)


def _closed_with_its_resolutions(court: MemoryCourt) -> None:
    """P2: the mark and the resolutions are one."""
    case = court.case
    assert court.closed_in_database == (case.state in CLOSED_STATES), "closed apart from its state"
    if not case.closed:
        return
    spend = case.funding_spend
    assert spend is not None, "closed by nothing"
    depth = closing_depth(spend.kind, case.channel.capacity_sat)
    assert depth_of(spend.height, case.best_height) >= depth, "closed before it was deep enough"
    marks = [effect for effect in court.effects if isinstance(effect, MarkChannelClosed)]
    marked = {contract.outpoint for contract in marks[-1].resolutions}
    first_level = {c.outpoint for c in case.contracts if c.outpoint.txid == spend.txid}
    assert first_level <= marked, "closed without all of its resolutions"


def _one_commitment_of_ours(court: MemoryCourt) -> None:
    """P3."""
    assert court.published_commitments <= 1, "two commitments were published"


def _judged_by_the_chain(court: MemoryCourt) -> None:
    """L1: what the case takes for spent is spent on the best chain, by that transaction."""
    for contract in court.case.contracts:
        found = court.chain.spender(contract.outpoint)
        if contract.spend is not None and contract.kind is not ContractKind.UNKNOWN_SPEND:
            assert found is not None, f"{contract.kind} is not spent"
            assert found[1].txid() == contract.spend.txid, f"{contract.kind} is spent by another"


def _resolved_when_all_is_buried(court: MemoryCourt) -> None:
    case = court.case
    for contract in case.contracts:
        if contract.stage is ContractStage.RESOLVED and contract.spend is not None:
            # By the chain: a reorg tells of a lower tip for a moment, and the spend stands.
            deep = depth_of(contract.spend.height, court.chain.height)
            assert deep >= case.policy.final_depth, f"{contract.kind} resolved at depth {deep}"
    if case.state is State.FULLY_RESOLVED:
        stages = {contract.stage for contract in case.contracts}
        assert stages <= {ContractStage.RESOLVED}, "fully resolved with an open contract"


def _never_failed_and_fulfilled(court: MemoryCourt) -> None:
    """L14: an HTLC whose preimage is known is never failed upstream after that."""
    known = {one.payment_hash for one in court.case.preimages}
    for told in court.told("htlc.failed"):
        if str(told["payment_hash"]) in map(str, known):
            fulfilled = [t["htlc_id"] for t in court.told("htlc.fulfilled")]
            assert fulfilled.count(told["htlc_id"]) == 0 or _failed_first(court, told), (
                f"HTLC {told['htlc_id']} was failed although its preimage was known"
            )


def _failed_first(court: MemoryCourt, failed: dict[str, object]) -> bool:
    """The timeout was buried, and a reorg brought the peer's claim: nobody can foresee that."""
    order = [
        (effect.event_type, effect.data.get("htlc_id"))
        for effect in court.notices()
        if effect.event_type in ("htlc.failed", "htlc.fulfilled")
    ]
    number = failed["htlc_id"]
    return order.index(("htlc.failed", number)) < order.index(("htlc.fulfilled", number))


def _nothing_asked_without_a_budget(court: MemoryCourt) -> None:
    for effect in court.effects:
        if isinstance(effect, SweepOutput):
            assert 0 < effect.budget_sat <= effect.contract.value_sat, "a sweep without a budget"


def _every_satoshi_accounted_for(court: MemoryCourt) -> None:
    told = account_of(court.case, {})
    parts = (told.won_sat, told.lost_sat, told.given_up_sat, told.open_sat, told.agreed_sat)
    assert sum(parts) + told.closing_fee_sat == told.capacity_sat, "the account does not add up"
