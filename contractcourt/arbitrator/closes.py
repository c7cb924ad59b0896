"""The spend of the funding output: seen, buried, or taken back by a reorg.

A spend seen is not a close until it is buried under the channel's required depth. Then the
close, its resolutions and the state go into one verdict, and so into one commit (P2).
"""

from __future__ import annotations

from collections.abc import Sequence

from contractcourt.alarms import AlarmKind
from contractcourt.arbitrator import (
    contracts,
    following,
    htlcs,
    machine,
    stakes,
    telling,
    unread,
    upstream,
)
from contractcourt.arbitrator.classification import Classified, classify
from contractcourt.arbitrator.depth import (
    closing_depth,
    depth_of,
    final_height,
)
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3.recognition import CommitmentOutput, OutputKind
from contractcourt.case import Case, FundingSpend
from contractcourt.channel import Htlc, Side
from contractcourt.contract import Contract, ContractKind
from contractcourt.effects import (
    AskLocalPoint,
    CloseKind,
    MarkChannelClosed,
    RecallRevokedState,
    UnwatchOutpoint,
)
from contractcourt.events import SpendConfirmed, SpendUnconfirmed
from contractcourt.units import BlockHeight, Blocks

_ALARMS = {
    CloseKind.BREACH: (AlarmKind.BREACH, "the peer published a revoked commitment"),
    CloseKind.DATA_LOSS: (
        AlarmKind.DATA_LOSS,
        "the peer's commitment is ahead of all we know: our data is lost; "
        "only our main output can be claimed",
    ),
    CloseKind.LOCAL_UNKNOWN: (
        AlarmKind.LOCAL_UNKNOWN,
        "a commitment of our own that the court does not hold was published; "
        "is an old copy of the node running?",
    ),
    CloseKind.UNKNOWN_SPEND: (
        AlarmKind.UNKNOWN_SPEND,
        "the funding output was spent by a transaction that no rule "
        "explains: funds may be lost, look at it now",
    ),
}

#: Closes by a commitment that we do not hold, and whose it is.
_OWNER_OF_AN_UNKNOWN = {CloseKind.DATA_LOSS: Side.REMOTE, CloseKind.LOCAL_UNKNOWN: Side.LOCAL}

_ANCHORS = {OutputKind.ANCHOR_LOCAL, OutputKind.ANCHOR_REMOTE}

#: Closes by one commitment of theirs, before and after the one that it follows is revoked.
_SAME_CLOSE = {CloseKind.REMOTE, CloseKind.REMOTE_PENDING}


def hear_funding_spend(hearing: Hearing, event: SpendConfirmed) -> None:
    """The funding output was spent on chain by something that is no splice."""
    seen = hearing.case.funding_spend
    if seen is not None and (seen.txid, seen.block_hash) == (event.txid, event.block_hash):
        return
    if seen is not None:
        take_back(hearing)
    _take_for(hearing, classify(hearing.case, Transaction.parse(event.tx)), event)


def _take_for(hearing: Hearing, found: Classified, spend: SpendConfirmed | FundingSpend) -> None:
    """From now on the spend is what was `found`."""
    hearing.change(
        funding_spend=FundingSpend(
            kind=found.kind,
            txid=spend.txid,
            tx=spend.tx,
            height=spend.height,
            block_hash=spend.block_hash,
            commitment_number=found.number,
        )
    )
    _announce(hearing, "seen")
    if found.kind is CloseKind.LOCAL_UNKNOWN:
        _lacks_local_point(hearing, found)  # It may show that this is a breach.


def hear_funding_unspend(hearing: Hearing, event: SpendUnconfirmed) -> None:
    """A reorg took the spend back. One that names another spend than ours says nothing new."""
    seen = hearing.case.funding_spend
    if seen is not None and (seen.txid, seen.block_hash) == (event.txid, event.block_hash):
        take_back(hearing)


def take_back(hearing: Hearing) -> None:
    """The funding output is unspent again: drop the contracts, return to the state before.

    What was due meanwhile, or was told, has no alarm clock any more: all are set anew.
    """
    _remember_what_is_ahead(hearing)
    unread_outpoints = [output.outpoint for output in unread.outputs(hearing.case)]
    for outpoint in [*(c.outpoint for c in hearing.case.contracts), *unread_outpoints]:
        hearing.want(UnwatchOutpoint(outpoint))
    _announce(hearing, "unseen")
    hearing.change(funding_spend=None, contracts=(), wanted_local_point=None)
    machine.reopen(hearing)
    htlcs.set_alarm_clocks(hearing)


def _remember_what_is_ahead(hearing: Hearing) -> None:
    """A reorg takes the spend back, but not what it proved: our state is stale (F4, L19)."""
    case, spend = hearing.case, hearing.case.funding_spend
    owner = None if spend is None else _OWNER_OF_AN_UNKNOWN.get(spend.kind)
    if spend is None or owner is None or spend.commitment_number is None:
        return
    seen = (owner, spend.commitment_number)
    if seen not in case.ahead_of_us:
        hearing.change(ahead_of_us=(*case.ahead_of_us, seen))


def _announce(hearing: Hearing, stage: str) -> None:
    spend = hearing.case.funding_spend
    if spend is None:
        return
    hearing.notify(
        "channel.closing",
        stage=stage,
        kind=spend.kind.value,
        txid=str(spend.txid),
        height=spend.height,
        required_depth=_wanted_depth(hearing.case, spend),
    )
    if stage == "seen" and spend.kind in _ALARMS:
        kind, words = _ALARMS[spend.kind]
        hearing.alarm(kind, f"{words} (transaction {spend.txid})")


def reclassify(hearing: Hearing) -> None:
    """Look at the spend again after the node told more: a late webhook may explain it."""
    spend = hearing.case.funding_spend
    if spend is None:
        return
    tx = Transaction.parse(spend.tx)
    found = classify(hearing.case, tx)
    same = (found.kind, found.number) == (spend.kind, spend.commitment_number)
    if same and not _reads_otherwise(hearing.case, spend, found, tx):
        _read_what_is_revoked(hearing, spend, found)
        _look_again_at_what_is_unread(hearing)
        return
    if hearing.case.closed and {found.kind, spend.kind} == _SAME_CLOSE:
        return  # Of a commitment that is told, its number never changes.
    if hearing.case.closed:
        # What was closed for the wrong reason is closed again for the right one, in one verdict.
        take_back(hearing)
    _take_for(hearing, found, spend)


def _reads_otherwise(case: Case, spend: FundingSpend, found: Classified, tx: Transaction) -> bool:
    """What tells its outputs apart was told since it closed.

    The signatures of our commitment's HTLC transactions; or of a breach what `_is_revoked_anew`.
    """
    if not case.closed or found.kind not in (CloseKind.LOCAL, CloseKind.BREACH):
        return False
    outputs = contracts.recognised(case.channel, found, tx)
    if found.kind is CloseKind.BREACH:
        return _is_revoked_anew(case, spend, found, outputs)
    anew = contracts.build_contracts(case.channel, found, tx, spend.height, outputs)
    held = (c for c in case.contracts if c.outpoint.txid == spend.txid)
    return [_as_told(c) for c in anew] != [_as_told(c) for c in held]


def _is_revoked_anew(
    case: Case, spend: FundingSpend, found: Classified, outputs: Sequence[CommitmentOutput]
) -> bool:
    """Its secret came after the cheater had moved an output on: where to, it tells too.

    Or a splice's keys did: what might have been an HTLC is an anchor.
    """
    anchors = {OutPoint.of(spend.txid, o.index) for o in outputs if o.kind in _ANCHORS}
    knows_secret = found.per_commitment_point is not None
    return any(
        contract.outpoint in anchors
        or (knows_secret and not _is_read(contract) and contract.spend is not None)
        for contract in case.contracts
    )


def _as_told(contract: Contract) -> tuple[object, ...]:
    """What of it follows from what was told, and not from the chain."""
    return contract.outpoint, contract.kind, contract.htlc, contract.per_commitment_point


def _read_what_is_revoked(hearing: Hearing, spend: FundingSpend, found: Classified) -> None:
    """The secret of a breach came after its close: it tells whose each output is."""
    case = hearing.case
    unread = {c.outpoint for c in case.contracts if not _is_read(c)}
    if not unread or found.per_commitment_point is None:
        return
    tx = Transaction.parse(spend.tx)
    outputs = contracts.recognised(case.channel, found, tx)
    read = {
        contract.outpoint: contract
        for contract in contracts.build_contracts(case.channel, found, tx, spend.height, outputs)
    }
    hearing.change(
        contracts=tuple(read[c.outpoint] if c.outpoint in unread else c for c in case.contracts)
    )


def _look_again_at_what_is_unread(hearing: Hearing) -> None:
    """What was taken may show the preimage of an HTLC that is told only now."""
    for output in unread.outputs(hearing.case):
        hearing.want(UnwatchOutpoint(output.outpoint))
    unread.watch(hearing)


def _is_read(contract: Contract) -> bool:
    return contract.kind is not ContractKind.REVOKED_HTLC or (
        contract.per_commitment_point is not None
    )


def close_when_buried(hearing: Hearing) -> None:
    """Close the channel once its spend is deep enough and all that resolving needs is known."""
    case = hearing.case
    spend = case.funding_spend
    if spend is None or case.closed:
        return
    depth = _wanted_depth(case, spend)
    if depth_of(spend.height, case.best_height) < depth:
        hearing.wake_at(
            final_height(spend.height, depth), "the close becomes final", case.channel.capacity_sat
        )
        return
    tx = Transaction.parse(spend.tx)
    found = classify(case, tx)
    if _lacks_local_point(hearing, found) or _lacks_revoked_state(hearing, found):
        return
    _close(hearing, spend, found, tx)


def _wanted_depth(case: Case, spend: FundingSpend) -> Blocks:
    """Blocks that this close must be deep: one, where with more an HTLC would come late.

    Ours to claim, to take back, or to fulfil upstream by what the peer shows. A reorg takes a claim
    back like any close, and upstream is failed at the full depth only.
    """
    depth = closing_depth(spend.kind, case.channel.capacity_sat)
    final = final_height(spend.height, depth)
    urgent = {htlc for htlc in case.htlcs if _comes_late(case, htlc, final)}
    if not urgent:
        return depth
    tx = Transaction.parse(spend.tx)
    amounts = {output.value for output in tx.outputs}  # An HTLC that has none of them is dust.
    hurries = any(
        htlc in urgent and htlc.amount_msat // 1000 in amounts for htlc in classify(case, tx).htlcs
    )
    return Blocks(1) if hurries else depth


def _comes_late(case: Case, htlc: Htlc, height: BlockHeight) -> bool:
    """What is to be done about this HTLC would not be done in time from `height` on."""
    return (
        height >= stakes.last_commitment_height(case.policy, htlc)
        and htlcs.broadcast_height(case, htlc) is not None
    )


def _lacks_local_point(hearing: Hearing, found: Classified) -> bool:
    """Our own outputs can't be told from others' without our point: ask the signer first."""
    if found.owner is not Side.LOCAL or found.per_commitment_point is not None:
        return False
    number = found.number
    if number is None:
        return False
    hearing.change(wanted_local_point=number)
    hearing.want(AskLocalPoint(number))
    return True


def _lacks_revoked_state(hearing: Hearing, found: Classified) -> bool:
    """The HTLC outputs of a revoked commitment can't be read without its HTLCs: recall them."""
    if found.kind is not CloseKind.BREACH or found.number is None:
        return False
    recalled = hearing.case.recalled
    if recalled is not None and recalled.number == found.number:
        return False
    hearing.want(RecallRevokedState(found.number))
    return True


def _close(hearing: Hearing, spend: FundingSpend, found: Classified, tx: Transaction) -> None:
    channel = hearing.case.channel
    outputs = contracts.recognised(channel, found, tx)
    resolutions = contracts.build_contracts(channel, found, tx, spend.height, outputs)
    hearing.change(contracts=resolutions, wanted_local_point=None)
    hearing.want(MarkChannelClosed(found.kind, spend.txid, spend.height, resolutions))
    _announce(hearing, "final")
    hearing.notify(
        "channel.closed", kind=found.kind.value, txid=str(spend.txid), height=spend.height
    )
    telling.breach_seen(hearing)
    upstream.settle_when_buried(hearing, spend, tx, outputs)
    machine.run(hearing, machine.TRIGGER_OF[found.kind])
    following.launch(hearing)
