"""What may be lost soon: told before it is lost, once for each thing (users_ask L24).

An HTLC of an open channel is at risk some blocks before it takes the channel on chain, our own
commitment some blocks before it is late, and a contract some blocks before somebody else may take
it. Each is told when the tip comes so near, whatever is under way for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from contractcourt.arbitrator import htlcs, stakes
from contractcourt.arbitrator.hearing import Hearing
from contractcourt.bolt3.commitment import is_trimmed
from contractcourt.case import Case
from contractcourt.channel import Direction
from contractcourt.contract import Contract, ContractKind, ContractStage
from contractcourt.units import BlockHeight, Satoshi

_HTLC, _COMMITMENT, _CONTRACT = "htlc", "commitment", "contract"
#: Somebody may still win it otherwise than we want.
_OPEN_STAGES = (ContractStage.IMMATURE, ContractStage.SWEEPING)


class Risk(msgspec.Struct, frozen=True):
    """One thing that is lost at `lost_at` unless something happens; told from `told_at` on.

    `key` names it for ever. `acts_at`: the court goes on chain for it there.
    """

    key: str
    what: str
    value_sat: Satoshi
    told_at: BlockHeight
    lost_at: BlockHeight
    acts_at: BlockHeight | None = None
    about: dict[str, Any] = {}


def tell(hearing: Hearing, before: Case) -> None:
    """Tell what has come near since, and ask to be woken where the rest does."""
    case = hearing.case
    news = _changed(before, case)
    if not news and case.best_height <= before.best_height:
        return
    found = list(_risks(case))
    for risk in found:
        if risk.key in case.warned:
            continue
        if risk.told_at <= case.best_height:
            _notify(hearing, risk)
        elif news:
            hearing.wake_at(risk.told_at, _comes_near(risk), risk.value_sat)
    _forget_settled(hearing, found)


def near_htlcs(case: Case) -> set[tuple[BlockHeight, str]]:
    """Where HTLCs of an open channel are told of, each with the reason to be woken there."""
    if case.funding_spend is not None:
        return set()
    return {(risk.told_at, _comes_near(risk)) for risk in _risks_of_htlcs(case)}


def _comes_near(risk: Risk) -> str:
    return f"the {risk.what} comes near its height"


def _changed(before: Case, after: Case) -> bool:
    """Anything that a risk follows from, the height apart. Unchanged parts are the same object."""
    return (
        before.local_commitment is not after.local_commitment
        or before.remote_commitments is not after.remote_commitments
        or before.preimages is not after.preimages
        or before.policy is not after.policy
        or before.force_close is not after.force_close
        or before.contracts is not after.contracts
        or before.funding_spend is not after.funding_spend
    )


def _notify(hearing: Hearing, risk: Risk) -> None:
    case = hearing.case
    hearing.change(warned=(*case.warned, risk.key))
    hearing.notify(
        "deadline.at_risk",
        what=risk.what,
        value_at_risk_sat=risk.value_sat,
        height=case.best_height,
        acts_at=risk.acts_at,
        lost_at=risk.lost_at,
        blocks_left=max(0, risk.lost_at - case.best_height),
        **risk.about,
    )


def _forget_settled(hearing: Hearing, found: list[Risk]) -> None:
    """HTLCs that the two sides settled are at no risk, and their ids never come again."""
    case = hearing.case
    if case.funding_spend is not None or not case.warned:
        return
    current = {risk.key for risk in found}
    kept = tuple(k for k in case.warned if k in current or not k.startswith(f"{_HTLC}:"))
    if kept != case.warned:
        hearing.change(warned=kept)


def _risks(case: Case) -> Iterator[Risk]:
    if case.funding_spend is None:
        yield from _risks_of_htlcs(case)
        yield from _risk_of_commitment(case)
    for contract in case.contracts:
        yield from _risk_of_contract(case, contract)


def _risks_of_htlcs(case: Case) -> Iterator[Risk]:
    """Each HTLC once, though it stands on several commitments."""
    known = set()
    for owner, feerate, htlc in htlcs.valid_htlcs(case):
        key = f"{_HTLC}:{htlc.direction.value}:{htlc.id}"
        acts_at = htlcs.broadcast_height(case, htlc)
        if acts_at is None or key in known or is_trimmed(case.channel, owner, feerate, htlc):
            continue
        known.add(key)
        offered = htlc.direction is Direction.OFFERED
        yield Risk(
            key=key,
            what="offered_htlc" if offered else "received_htlc",
            value_sat=Satoshi(htlc.amount_msat // 1000),
            told_at=BlockHeight(acts_at - case.policy.at_risk_blocks),
            lost_at=stakes.htlc_deadline(case.policy, htlc),
            acts_at=acts_at,
            about={"htlc_id": htlc.id, "payment_hash": str(htlc.payment_hash)},
        )


def _risk_of_commitment(case: Case) -> Iterator[Risk]:
    commitment = stakes.decided_commitment(case)
    if commitment is None:
        return
    lost_at = stakes.commitment_deadline(case, commitment)
    if lost_at is not None:
        yield Risk(
            key=f"{_COMMITMENT}:{commitment.txid}",
            what="unconfirmed_commitment",
            value_sat=stakes.hurrying_sat(case, commitment),
            told_at=BlockHeight(lost_at - case.policy.at_risk_blocks),
            lost_at=lost_at,
            about={"txid": str(commitment.txid)},
        )


def _risk_of_contract(case: Case, contract: Contract) -> Iterator[Risk]:
    lost_at = stakes.deadline(case, contract)
    if lost_at is None or contract.spend is not None or contract.stage not in _OPEN_STAGES:
        return
    htlc = contract.htlc
    if contract.kind is ContractKind.RECEIVED_HTLC and (
        htlc is None or case.preimage_of(htlc.payment_hash) is None
    ):
        return  # the peer's, as long as nobody tells its preimage
    about: dict[str, Any] = {"outpoint": str(contract.outpoint)}
    if htlc is not None:
        about |= {"htlc_id": htlc.id, "payment_hash": str(htlc.payment_hash)}
    yield Risk(
        key=f"{_CONTRACT}:{contract.outpoint}",
        what=contract.kind.value,
        value_sat=contract.value_sat,
        told_at=BlockHeight(lost_at - case.policy.at_risk_blocks),
        lost_at=lost_at,
        about=about,
    )
