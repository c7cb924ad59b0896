"""Our anchor on our own commitment: worth 330 sat, and after 16 blocks anybody's (L3, L4).

While the commitment waits to be mined it is worth far more: by it a child pays for both (F5).
"""

from __future__ import annotations

from contractcourt.arbitrator import offer, stakes
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.script import p2wsh
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3 import scripts, weights
from contractcourt.case import Case
from contractcourt.channel import LocalCommitment, Side
from contractcourt.contract import Contract, ContractKind, ContractStage
from contractcourt.effects import BumpCommitment
from contractcourt.resolvers.sweeping import sweep
from contractcourt.units import BlockHeight, Blocks, Script


def act(hearing: Hearing, contract: Contract) -> bool:
    """Ask for its sweep, which is only built while the fee leaves something of it."""
    hearing.wake_at(_given_up_height(hearing, contract), "the anchor is given up")
    sweep(hearing, contract)
    return True


def is_given_up(hearing: Hearing, contract: Contract) -> bool:
    """Anybody could have taken it for a while: it never paid for itself."""
    late = hearing.case.best_height >= _given_up_height(hearing, contract)
    return late and contract.spend is None


def _given_up_height(hearing: Hearing, contract: Contract) -> BlockHeight:
    patience = scripts.ANCHOR_OPEN_AFTER + hearing.case.policy.final_depth
    return BlockHeight(contract.confirmed_height + patience)


def is_spent_by_us(contract: Contract, tx: Transaction) -> bool:
    """Our key's branch holds a signature, the branch that is anybody's an empty item."""
    witness = tx.witness_of(contract.outpoint)
    return bool(witness) and witness[0] != b""


def bump(hearing: Hearing) -> None:
    """Our commitment is to be published and no commitment is mined: let its child pay for it.

    Asked again it wants the same, or more, when more is known to be at stake.
    """
    case = hearing.case
    commitment = stakes.decided_commitment(case)
    if not case.channel.anchors or case.funding_spend is not None or commitment is None:
        return
    if offer.on_offer(case) != commitment.txid:
        return
    anchor = _anchor_of(case, commitment)
    if anchor is not None:
        hearing.want(
            BumpCommitment(
                anchor,
                commitment,
                deadline=stakes.commitment_deadline(case, commitment),
                budget_sat=stakes.commitment_budget_sat(case, commitment),
            )
        )


def _anchor_of(case: Case, commitment: LocalCommitment) -> Contract | None:
    pays: Script = p2wsh(scripts.anchor(case.channel.funding_pubkey(Side.LOCAL)))
    outputs = Transaction.parse(commitment.tx).outputs
    index = next((i for i, o in enumerate(outputs) if o.script_pubkey == pays), None)
    if index is None:
        return None
    return Contract(
        outpoint=OutPoint.of(commitment.txid, index),
        kind=ContractKind.ANCHOR,
        value_sat=weights.ANCHOR_SAT,
        script_pubkey=pays,
        commitment_owner=Side.LOCAL,
        commitment_number=commitment.number,
        per_commitment_point=commitment.per_commitment_point,
        csv_delay=Blocks(0),
        stage=ContractStage.SWEEPING,
        confirmed_height=BlockHeight(0),
    )
