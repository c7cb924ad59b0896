"""The rules by which the signer judges sweeps and bumps: what they spend, and where it goes.

How much of it goes to the miners is judged by `contractcourt.fee_rules`. Pure, like
`contractcourt.signing_policy`. The signer believes no price, no budget and no value of a request
(`contractcourt.proved_values`): a court that errs, or lies, can waste within these limits and steal
nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from contractcourt.bitcoin.sighash import segwit_v0
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3.htlc import remote_sighash
from contractcourt.bolt3.points import verify
from contractcourt.claims import Claim, claim_of
from contractcourt.contract import Contract, ContractKind
from contractcourt.fee_rules import FeePolicy, check_fee
from contractcourt.proved_values import check_values
from contractcourt.signing import (
    RefusalReason,
    SigningInput,
    SigningPurpose,
    SigningRefused,
    SigningRequest,
)
from contractcourt.signing_policy import malformed
from contractcourt.units import Script

#: nLockTime below this is a height, from here on a time (BIP 65).
_LOCKTIME_IS_TIME = 500_000_000
#: nSequence with this bit carries no relative delay (BIP 68).
_NO_DELAY = 0x8000_0000
_FINAL = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Allowed:
    """Where a node's money may go: the scripts its owner pinned, and its own fee wallet's.

    `wallet` holds the fee wallet's scripts by their place in its descriptor.
    """

    sweep_scripts: Collection[Script]
    wallet: Mapping[int, Script] = field(default_factory=dict)


def check_sweep(
    request: SigningRequest, tx: Transaction, allowed: Allowed, policy: FeePolicy
) -> tuple[Claim | None, ...]:
    """The claim of every input, None for a coin, when the transaction keeps all the rules.

    Of a bump's commitment it only says that the anchor is one of its outputs: see `check_bumped`.

    Raises:
        SigningRefused: any reason of `claim_of` and of `check_values`; WRONG_TIMELOCK,
            WRONG_SCRIPT, FOREIGN_OUTPUT, UNREASONABLE_FEE, BAD_REMOTE_SIGNATURE,
            MALFORMED_REQUEST.
        ValueUnproved: see `check_values`.
    """
    if request.purpose not in (SigningPurpose.SWEEP, SigningPurpose.BUMP):
        raise malformed("this is no sweep")
    claims = tuple(_claim(spent, allowed) for spent in request.inputs)
    if not any(claims):
        raise malformed("coins alone are nothing to sweep")
    _check_company(claims)
    if request.purpose is SigningPurpose.BUMP:
        _check_is_bump(request)
    check_values(request)
    _check_timelocks(tx, claims)
    _check_outputs(request, tx, claims, allowed)
    _check_second_levels(request, tx, claims)
    check_fee(request, tx, policy)
    _check_coins_go_back(request, tx, claims, allowed)
    return claims


def _claim(spent: SigningInput, allowed: Allowed) -> Claim | None:
    if spent.wallet_index is not None:
        _check_coin(spent, allowed)
        return None
    contract = spent.contract
    if contract is None:
        raise SigningRefused(RefusalReason.WRONG_CONTRACT, "an input without a contract")
    if (contract.outpoint, contract.value_sat, contract.script_pubkey) != (
        spent.outpoint,
        spent.value_sat,
        spent.script_pubkey,
    ):
        raise malformed(f"the contract of {spent.outpoint} is of another output")
    return claim_of(spent.owner, spent)


def _check_company(claims: Sequence[Claim | None]) -> None:
    """An HTLC transaction of ours has coins for company, and one of them as its last input.

    The delayed output that it pays may be a stranger's, since the request says who the peer is: its
    value must not count for what the fee of others may be. And a stranger could spend his HTLC
    without our signature, which is what proves the value of the last input.
    """
    moving = [_moves(claim) for claim in claims]
    if len(claims) == 1 or not any(moving):
        return
    if claims[-1] is not None or any(
        claim is not None and not moves for claim, moves in zip(claims, moving, strict=True)
    ):
        raise malformed("beside an HTLC transaction's inputs stand coins alone, a coin as the last")


def _moves(claim: Claim | None) -> bool:
    """It is of an HTLC transaction of ours, whose output stands at its input's index."""
    return claim is not None and claim.second_level is not None


def _check_coin(spent: SigningInput, allowed: Allowed) -> None:
    if spent.channel is not None or spent.contract is not None:
        raise malformed(f"the coin {spent.outpoint} is of no channel")
    if allowed.wallet.get(spent.wallet_index or 0) != spent.script_pubkey:
        raise SigningRefused(
            RefusalReason.WRONG_SCRIPT,
            f"{spent.outpoint} does not pay script {spent.wallet_index} of the fee wallet",
        )


def _check_is_bump(request: SigningRequest) -> None:
    """One anchor of the commitment that is paid for, and coins."""
    contracts = [spent.contract for spent in request.inputs if spent.contract is not None]
    commitment = request.commitment
    if commitment is None or len(contracts) != 1 or len(contracts) == len(request.inputs):
        raise malformed("a bump spends one anchor and coins, and names its commitment")
    anchor: Contract = contracts[0]
    if anchor.kind is not ContractKind.ANCHOR or anchor.outpoint.txid != commitment.txid:
        raise SigningRefused(
            RefusalReason.WRONG_CONTRACT,
            f"{anchor.outpoint} is no anchor of commitment {commitment.number}",
        )
    if Transaction.parse(commitment.tx).txid() != commitment.txid:
        raise malformed("the commitment's txid is not that of its transaction")


def _check_timelocks(tx: Transaction, claims: Sequence[Claim | None]) -> None:
    """Each input meets its delay, and the transaction the latest expiry, as a height."""
    if tx.locktime >= _LOCKTIME_IS_TIME:
        raise SigningRefused(RefusalReason.WRONG_TIMELOCK, "nLockTime is a time, not a height")
    for claim, spending in zip(claims, tx.inputs, strict=True):
        if claim is not None:
            _check_timelock(tx, claim, spending.sequence)


def _check_timelock(tx: Transaction, claim: Claim, sequence: int) -> None:
    if claim.sequence is None:
        fits = sequence <= 1 or sequence >= _NO_DELAY
    else:
        fits = sequence == claim.sequence
    if not fits:
        raise SigningRefused(
            RefusalReason.WRONG_TIMELOCK,
            f"nSequence {sequence} of a {claim.path} is not {claim.sequence or 0}",
        )
    needs_expiry = claim.earliest_locktime > 0
    if needs_expiry and (tx.locktime < claim.earliest_locktime or sequence == _FINAL):
        raise SigningRefused(
            RefusalReason.WRONG_TIMELOCK,
            f"a {claim.path} needs nLockTime {claim.earliest_locktime} and no final nSequence",
        )


def _check_outputs(
    request: SigningRequest, tx: Transaction, claims: Sequence[Claim | None], allowed: Allowed
) -> None:
    """A second-level output stands at its input's index (rule H4); all else pays the node.

    To the fee wallet goes at most what came from it, and of a bump the anchor too.
    """
    wallet = frozenset(allowed.wallet.values())
    to_wallet = 0
    for index, output in enumerate(tx.outputs):
        claim = claims[index] if index < len(claims) else None
        if _moves(claim):
            continue
        if output.script_pubkey in allowed.sweep_scripts:
            continue
        if output.script_pubkey in wallet:
            to_wallet += output.value
        else:
            raise SigningRefused(
                RefusalReason.FOREIGN_OUTPUT,
                f"output {index} pays {Script(output.script_pubkey)}, which is none of the scripts "
                "that may be paid for this node",
            )
    _check_second_level_outputs(tx, claims)
    bump = request.purpose is SigningPurpose.BUMP
    from_wallet = sum(
        spent.value_sat for spent in request.inputs if bump or spent.wallet_index is not None
    )
    if to_wallet > from_wallet:
        raise SigningRefused(
            RefusalReason.FOREIGN_OUTPUT,
            f"{to_wallet} sat go to the fee wallet, {from_wallet} come from it",
        )


def _check_coins_go_back(
    request: SigningRequest, tx: Transaction, claims: Sequence[Claim | None], allowed: Allowed
) -> None:
    """To the sweep scripts goes at most what came from contracts.

    Else nothing might be left in the fee wallet to pay for what is urgent.
    """
    only_swept = frozenset(allowed.sweep_scripts) - frozenset(allowed.wallet.values())
    moved = {index for index, claim in enumerate(claims) if _moves(claim)}
    swept = sum(
        output.value
        for index, output in enumerate(tx.outputs)
        if index not in moved and output.script_pubkey in only_swept
    )
    won = sum(
        spent.value_sat
        for index, (claim, spent) in enumerate(zip(claims, request.inputs, strict=True))
        if claim is not None and index not in moved
    )
    if swept > won:
        raise SigningRefused(
            RefusalReason.FOREIGN_OUTPUT,
            f"{swept} sat go to the sweep scripts, {won} come from contracts: the rest is of the "
            "fee wallet",
        )


def _check_second_level_outputs(tx: Transaction, claims: Sequence[Claim | None]) -> None:
    for index, claim in enumerate(claims):
        if claim is None or claim.second_level is None:
            continue
        if index >= len(tx.outputs) or tx.outputs[index].script_pubkey != claim.second_level:
            raise SigningRefused(
                RefusalReason.FOREIGN_OUTPUT,
                f"output {index} is not the delayed output of the {claim.path} at that index",
            )


def _check_second_levels(
    request: SigningRequest, tx: Transaction, claims: Sequence[Claim | None]
) -> None:
    """The peer's signature covers what it has to on every HTLC transaction of ours (H2, H3).

    It moves its own value and no more: who the peer is, and so whose the delayed output may be,
    the request says. With anchors it moves all of it.
    """
    for index, (claim, spent) in enumerate(zip(claims, request.inputs, strict=True)):
        if claim is None or claim.second_level is None:
            continue
        moved = tx.outputs[index].value
        if moved > spent.value_sat or (spent.owner.anchors and moved < spent.value_sat):
            raise SigningRefused(
                RefusalReason.UNREASONABLE_FEE,
                f"the {claim.path} of {spent.outpoint} moves {moved} sat of {spent.value_sat}",
            )
        htlc = spent.contract.htlc if spent.contract else None
        signature = htlc.remote_signature if htlc else None
        sighash = remote_sighash(spent.owner)
        digest = segwit_v0(tx, index, claim.script_code, spent.value_sat, sighash)
        remote_key = claim.other_key
        if signature is None or remote_key is None or not verify(remote_key, digest, signature):
            raise SigningRefused(
                RefusalReason.BAD_REMOTE_SIGNATURE,
                f"the peer's signature of the {claim.path} of {spent.outpoint} does not verify",
            )
