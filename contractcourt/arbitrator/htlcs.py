"""What each HTLC asks of the arbitrator (`lnd_behaviour.md` section 3).

Three commitments may confirm: ours, the peer's and the peer's pending one. An offered HTLC is
failed upstream only when none that can still confirm has an output for it, and never when its
preimage is known (users_ask L14): then it is fulfilled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from contractcourt.arbitrator.hearing import Hearing
from contractcourt.bolt3.commitment import is_trimmed
from contractcourt.case import Case
from contractcourt.channel import Direction, Htlc, Side
from contractcourt.effects import HTLC_DUE
from contractcourt.units import BlockHeight, FeeratePerKw, Secret


def valid_htlcs(case: Case) -> Iterator[tuple[Side, FeeratePerKw, Htlc]]:
    """Every HTLC of every commitment that may still confirm, with that commitment's owner."""
    local = case.local_commitment
    if local is not None:
        for htlc in local.htlcs:
            yield Side.LOCAL, local.feerate_per_kw, htlc
    for remote in case.remote_commitments:
        for htlc in remote.htlcs:
            yield Side.REMOTE, remote.feerate_per_kw, htlc


def valid_offered(case: Case) -> dict[int, Htlc]:
    """Those of them that our node offered, each once."""
    found = (htlc for _, _, htlc in valid_htlcs(case))
    return {htlc.id: htlc for htlc in found if htlc.direction is Direction.OFFERED}


def broadcast_height(case: Case, htlc: Htlc) -> BlockHeight | None:
    """The height at which this HTLC takes the channel on chain; None while it never does."""
    if htlc.direction is Direction.OFFERED:
        return BlockHeight(htlc.cltv_expiry - case.policy.outgoing_broadcast_delta)
    if case.preimage_of(htlc.payment_hash) is None:
        return None
    return BlockHeight(htlc.cltv_expiry - case.policy.incoming_broadcast_delta)


def hard_height(case: Case, htlc: Htlc) -> BlockHeight:
    """From here on going on chain can't wait for a peer that may settle after all (L13).

    A quarter of the time that the fee curve has: three quarters are left for it.
    """
    policy = case.policy
    if htlc.direction is Direction.OFFERED:
        spare = policy.outgoing_broadcast_delta + policy.outgoing_deadline_delta
        return BlockHeight(htlc.cltv_expiry - policy.outgoing_broadcast_delta + spare // 4)
    delta = policy.incoming_broadcast_delta
    return BlockHeight(htlc.cltv_expiry - delta + delta // 4)


@dataclass(frozen=True, slots=True)
class Due:
    """What is due at a height: the satoshi at stake, and when it can't wait any more."""

    at_risk_sat: int
    hard_height: BlockHeight


def due_heights(case: Case) -> dict[BlockHeight, Due]:
    """Heights at which some HTLC is due.

    HTLCs without an output never take a channel on chain (users_ask L12).
    """
    heights: dict[BlockHeight, dict[tuple[Direction, int], Htlc]] = {}
    for owner, feerate, htlc in valid_htlcs(case):
        height = broadcast_height(case, htlc)
        if height is None or is_trimmed(case.channel, owner, feerate, htlc):
            continue
        heights.setdefault(height, {})[(htlc.direction, htlc.id)] = htlc
    return {height: _due(case, found.values()) for height, found in heights.items()}


def _due(case: Case, due: Collection[Htlc]) -> Due:
    at_risk_sat = sum(htlc.amount_msat // 1000 for htlc in due)
    return Due(at_risk_sat, min(hard_height(case, htlc) for htlc in due))


def set_alarm_clocks(hearing: Hearing) -> None:
    """Wake at each height where an HTLC would take the channel on chain."""
    if hearing.case.closed:
        return
    for height, due in sorted(due_heights(hearing.case).items()):
        hearing.wake_at(height, HTLC_DUE, due.at_risk_sat, due.hard_height, urgent=True)


def some_action_due(case: Case) -> bool:
    """The chain trigger's guard in DEFAULT."""
    return any(height <= case.best_height for height in due_heights(case))


def fail_dust_upstream(hearing: Hearing) -> None:
    """When we go on chain: fail offered HTLCs that no valid commitment has an output for (U4).

    Nor one of ours that was decided before: it may be out, and be mined though the node went on.
    """
    case = hearing.case
    offered = valid_offered(case)
    sent = (
        (Side.LOCAL, commitment.feerate_per_kw, htlc)
        for commitment in case.decided_before
        for htlc in commitment.htlcs
    )
    with_output = {
        htlc.id
        for owner, feerate, htlc in (*valid_htlcs(case), *sent)
        if htlc.direction is Direction.OFFERED
        and not is_trimmed(case.channel, owner, feerate, htlc)
    }
    for htlc_id in sorted(offered.keys() - with_output):
        _end_upstream(hearing, offered[htlc_id], "dust")


def fail_missing_upstream(hearing: Hearing, with_output: frozenset[int]) -> None:
    """When a commitment is final: fail offered HTLCs that it has no output for (U3).

    Covers its own dust and the dangling HTLCs that stood only on other commitments.
    """
    offered = valid_offered(hearing.case)
    for htlc_id in sorted(offered.keys() - with_output):
        _end_upstream(hearing, offered[htlc_id], "not_on_confirmed_commitment")


def fail_timed_out(hearing: Hearing, htlc: Htlc) -> None:
    """When our timeout of an offered HTLC is buried (U2)."""
    _end_upstream(hearing, htlc, "timed_out")


def end_taken(hearing: Hearing, htlc: Htlc) -> None:
    """When the peer's spend of it is buried: by its preimage, or else by a revocation key.

    The latter punishes an old commitment of ours, and leaves nothing to claim by the preimage.
    """
    _end_upstream(hearing, htlc, "not_on_confirmed_commitment")


def _end_upstream(hearing: Hearing, htlc: Htlc, reason: str) -> None:
    """Nobody can claim this offered HTLC any more: fail it, once.

    With a preimage that is known by any route it is fulfilled instead (U1).
    """
    case = hearing.case
    preimage = case.preimage_of(htlc.payment_hash)
    if htlc.id in case.failed_htlcs:
        return
    if preimage is not None:
        fulfil_upstream(hearing, htlc, preimage)
        return
    hearing.change(failed_htlcs=(*case.failed_htlcs, htlc.id))
    hearing.notify(
        "htlc.failed",
        htlc_id=htlc.id,
        payment_hash=str(htlc.payment_hash),
        amount_msat=htlc.amount_msat,
        reason=reason,
    )


def fulfil_upstream(hearing: Hearing, htlc: Htlc, preimage: Secret) -> None:
    """Tell the preimage of an offered HTLC, once, however often it shows."""
    case = hearing.case
    if htlc.id in case.fulfilled_htlcs:
        return
    hearing.change(fulfilled_htlcs=(*case.fulfilled_htlcs, htlc.id))
    hearing.notify(
        "htlc.fulfilled",
        htlc_id=htlc.id,
        payment_hash=str(htlc.payment_hash),
        preimage=str(preimage),
        amount_msat=htlc.amount_msat,
    )
