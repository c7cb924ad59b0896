"""The design's promises as statements about one world, true after every event."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from contractcourt.account import account_of
from contractcourt.arbitrator.depth import closing_depth, depth_of, required_depth
from contractcourt.case import CLOSED_STATES, Case, State
from contractcourt.channel import Direction
from contractcourt.contract import ContractKind, ContractStage
from contractcourt.effects import (
    BumpCommitment,
    CloseKind,
    Effect,
    MarkChannelClosed,
    NotifyNode,
    PublishCommitment,
    PublishHtlcTransaction,
    SweepOutput,
)
from contractcourt.units import Txid
from tests.scenarios.memory import MemoryCourt

Kind = Callable[[Case], CloseKind]


def assert_promises(court: MemoryCourt, kinds: Mapping[Txid, Kind]) -> None:
    """Raises AssertionError naming the first promise that does not hold.

    `kinds` says what the peer's transactions are, by what the node has told so far.
    """
    _named_for_what_it_is(court, kinds)
    _closed_with_its_resolutions(court)
    _seen_as_the_chain_has_it(court)
    _judged_by_the_chain(court)
    _resolved_when_all_is_buried(court)
    _asked_for_what_is_swept(court)
    _never_failed_and_fulfilled(court)
    _told_once(court)
    _told_every_preimage(court)
    _nothing_asked_without_a_budget(court)
    _every_satoshi_accounted_for(court)


def assert_verdict_promises(case: Case, effects: tuple[Effect, ...], *, is_stale: bool) -> None:
    """The same for one verdict, at the moment of it. A reorg may take back later what it saw.

    `is_stale`: the peer's commitments have shown by now that ours are old.
    """
    for effect in effects:
        if isinstance(effect, NotifyNode) and effect.event_type == "htlc.failed":
            _failed_no_sooner_than_allowed(case, effect.data["htlc_id"], effect.data["reason"])
        if isinstance(effect, PublishCommitment | BumpCommitment):
            assert not is_stale, "a commitment was published that is known to be stale"
            newest = max(commitment.number for commitment in case.held)
            # Of one number there is one commitment on a funding, so no second one either (P3).
            assert effect.commitment.number == newest, (
                "a commitment was published that may be revoked"
            )


def _failed_no_sooner_than_allowed(case: Case, htlc_id: int, reason: str) -> None:
    """L14: upstream hears of a failure only once nobody can claim the HTLC any more."""
    if reason == "timed_out":
        buried = [
            c
            for c in case.contracts
            if c.htlc is not None
            and c.htlc.id == htlc_id
            and c.ours
            and c.spend is not None
            and depth_of(c.spend.height, case.best_height) >= case.policy.final_depth
        ]
        assert buried, f"HTLC {htlc_id} was failed before its timeout was buried"
    elif reason == "not_on_confirmed_commitment":
        assert case.closed, f"HTLC {htlc_id} was failed before a commitment was final"
        spend = case.funding_spend
        depth = required_depth(case.channel.capacity_sat)
        assert spend is not None, f"HTLC {htlc_id} was failed without a commitment"
        assert depth_of(spend.height, case.best_height) >= depth, (
            f"HTLC {htlc_id} was failed before a commitment was buried"
        )


def _closed_with_its_resolutions(court: MemoryCourt) -> None:
    """P2: the mark and the resolutions are one."""
    case = court.case
    assert court.closed_in_database == (case.state in CLOSED_STATES), "closed apart from its state"
    if not case.closed:
        return
    spend = case.funding_spend
    assert spend is not None, "closed by nothing"
    depth = 1 if _an_htlc_hurries(case) else closing_depth(spend.kind, case.channel.capacity_sat)
    # By the chain: a reorg tells of a lower tip for a moment, and the spend stands.
    assert depth_of(spend.height, court.chain.height) >= depth, "closed before it was deep enough"
    marks = [effect for effect in court.effects if isinstance(effect, MarkChannelClosed)]
    marked = {contract.outpoint for contract in marks[-1].resolutions}
    first_level = {c.outpoint for c in case.contracts if c.outpoint.txid == spend.txid}
    assert first_level <= marked, "closed without all of its resolutions"


def _an_htlc_hurries(case: Case) -> bool:
    """At the full depth an HTLC would have half of its time behind it."""
    spend, policy = case.funding_spend, case.policy
    assert spend is not None, "closed by nothing"
    final = spend.height + required_depth(case.channel.capacity_sat) - 1
    open_htlcs = [
        c.htlc
        for c in case.contracts
        if c.htlc is not None
        and (
            c.htlc.direction is Direction.OFFERED
            or case.preimage_of(c.htlc.payment_hash) is not None
        )
    ]
    half = {
        Direction.OFFERED: policy.outgoing_deadline_delta // 2,
        Direction.RECEIVED: -(policy.incoming_broadcast_delta // 2),
    }
    return any(htlc.cltv_expiry + half[htlc.direction] <= final for htlc in open_htlcs)


def _named_for_what_it_is(court: MemoryCourt, kinds: Mapping[Txid, Kind]) -> None:
    spend = court.case.funding_spend
    if spend is not None:
        is_ours = spend.txid not in kinds
        kind = CloseKind.LOCAL if is_ours else kinds[spend.txid](court.case)
        if court.case.closed and spend.kind is CloseKind.REMOTE_PENDING:
            # The node may have revoked the one before since; the close is the same.
            assert kind in (CloseKind.REMOTE, CloseKind.REMOTE_PENDING)
            return
        assert spend.kind is kind, f"a {kind} close is taken for {spend.kind}"


def _seen_as_the_chain_has_it(court: MemoryCourt) -> None:
    """L1: a close is the spend of the funding output that the best chain holds, and no other."""
    case, found = court.case, court.chain.spender(court.case.channel.funding_outpoint)
    if case.funding_spend is not None:
        assert found is not None, "closed by a transaction that a reorg took back"
        seen = (case.funding_spend.txid, case.funding_spend.block_hash)
        assert seen == (found[1].txid(), found[0].hash), "closed by another transaction"


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
            deep = depth_of(contract.spend.height, court.chain.height)
            assert deep >= case.policy.final_depth, f"{contract.kind} resolved at depth {deep}"
    if case.state is State.FULLY_RESOLVED:
        stages = {contract.stage for contract in case.contracts}
        assert stages <= {ContractStage.RESOLVED}, "fully resolved with an open contract"


def _asked_for_what_is_swept(court: MemoryCourt) -> None:
    """A contract that waits for its sweep has one: no output of a cheater's is left out (L17)."""
    asked = {
        effect.contract.outpoint
        for effect in court.effects
        if isinstance(effect, SweepOutput | PublishHtlcTransaction)
    }
    for contract in court.case.contracts:
        if contract.stage is ContractStage.SWEEPING:
            assert contract.outpoint in asked, f"nothing was asked for {contract.kind}"


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


def _told_once(court: MemoryCourt) -> None:
    """L24: what became of an HTLC, and that it is at risk, is told once each."""
    for event_type in ("htlc.failed", "htlc.fulfilled", "deadline.at_risk"):
        facts = [_fact(told) for told in court.told(event_type)]
        assert len(facts) == len(set(facts)), f"{event_type} was told twice"


def _fact(told: dict[str, object]) -> tuple[object, ...]:
    return tuple(told.get(name) for name in ("what", "htlc_id", "outpoint", "txid"))


def _told_every_preimage(court: MemoryCourt) -> None:
    """L7: the peer takes what we offered by showing its preimage, and the node is told it."""
    fulfilled = {told["htlc_id"] for told in court.told("htlc.fulfilled")}
    for contract in court.case.contracts:
        htlc = contract.htlc
        if htlc is None or htlc.direction is not Direction.OFFERED or contract.spend is None:
            continue
        if contract.kind in (ContractKind.OFFERED_HTLC, ContractKind.REVOKED_HTLC):
            told = contract.ours or htlc.id in fulfilled
            assert told, f"the preimage of HTLC {htlc.id} was not told"


def _nothing_asked_without_a_budget(court: MemoryCourt) -> None:
    for effect in court.effects:
        if isinstance(effect, SweepOutput):
            assert 0 < effect.budget_sat <= effect.contract.value_sat, "a sweep without a budget"


def _every_satoshi_accounted_for(court: MemoryCourt) -> None:
    told = account_of(court.case, {})
    parts = (told.won_sat, told.lost_sat, told.given_up_sat, told.open_sat, told.agreed_sat)
    assert sum(parts) + told.closing_fee_sat == told.capacity_sat, "the account does not add up"
