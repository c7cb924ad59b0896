"""How each contract may be spent: by which of our keys, through which script, after what delay.

Everything is rebuilt from the channel's public facts and compared with the output itself, so a
claim says nothing that the chain does not confirm. The signer turns a claim into a witness; it
signs nothing that is not a claim.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import assert_never

from contractcourt.bitcoin.script import p2wpkh, p2wpkh_script_code, p2wsh
from contractcourt.bolt3 import scripts, witness
from contractcourt.bolt3.commitment import htlc_script, to_local_script
from contractcourt.bolt3.htlc import remote_sighash
from contractcourt.bolt3.keys import CommitmentKeys, commitment_keys
from contractcourt.bolt3.points import parse_point, public_key
from contractcourt.channel import Channel, Direction, Htlc, Side
from contractcourt.contract import Contract, ContractKind
from contractcourt.signing import RefusalReason, SigningInput, SigningRefused
from contractcourt.units import PublicKey, Script, Secret


class KeyRole(StrEnum):
    """Which of our keys signs."""

    FUNDING = "funding"
    PAYMENT = "payment"
    DELAYED = "delayed"
    HTLC = "htlc"
    REVOCATION = "revocation"


class SpendPath(StrEnum):
    """The ways of spending, as the rules table "Building blocks" names them."""

    DELAYED = "delayed"
    REVOKED_DELAYED = "revoked_delayed"
    TO_REMOTE = "to_remote"
    TO_REMOTE_ANCHORED = "to_remote_anchored"
    ANCHOR = "anchor"
    HTLC_TIMEOUT = "htlc_timeout"
    HTLC_SUCCESS = "htlc_success"
    PREIMAGE_CLAIM = "preimage_claim"
    TIMEOUT_CLAIM = "timeout_claim"
    REVOKED_HTLC = "revoked_htlc"


@dataclass(frozen=True, slots=True)
class Claim:
    """One lawful way to spend one output.

    `script` is the witness script; for P2WPKH, which has none, the output's script. `sequence`
    is the nSequence demanded, None where any that delays by a block at most will do.
    `earliest_locktime` is the nLockTime demanded at least. `second_level` is the only script
    that an HTLC transaction of ours may pay at the index of this input, and None for every other
    claim, which pays the node's own scripts; `other_key` is then the peer's HTLC key.
    """

    path: SpendPath
    key: KeyRole
    public_key: PublicKey
    script: Script
    sequence: int | None = None
    earliest_locktime: int = 0
    second_level: Script | None = None
    other_key: PublicKey | None = None

    @property
    def script_pubkey(self) -> Script:
        """The output that this claim spends."""
        return self.script if self.path is SpendPath.TO_REMOTE else p2wsh(self.script)

    @property
    def script_code(self) -> Script:
        """What the signature signs as script (BIP 143)."""
        if self.path is SpendPath.TO_REMOTE:
            return p2wpkh_script_code(self.public_key)
        return self.script


def claim_of(channel: Channel, spent: SigningInput) -> Claim:
    """The claim by which `spent` may be spent by our node.

    Raises:
        SigningRefused: WRONG_CONTRACT, WRONG_SCRIPT, WRONG_SECRET or MALFORMED_REQUEST.
        InvalidPoint: the contract's per-commitment point is none.
    """
    contract = spent.contract
    if contract is None:
        raise SigningRefused(RefusalReason.WRONG_CONTRACT, "an input without a contract")
    try:
        claim = _claim(channel, contract, spent)
    except (ValueError, OverflowError) as error:
        raise SigningRefused(
            RefusalReason.MALFORMED_REQUEST, f"no script has these numbers: {error}"
        ) from None
    if claim.script_pubkey != spent.script_pubkey:
        raise SigningRefused(
            RefusalReason.WRONG_SCRIPT,
            f"{spent.outpoint} does not pay the script of a {contract.kind.value} of this channel",
        )
    return claim


def _claim(channel: Channel, contract: Contract, spent: SigningInput) -> Claim:
    owner, csv = contract.commitment_owner, 1 if channel.anchors else None
    match contract.kind:
        case ContractKind.TO_LOCAL | ContractKind.SECOND_LEVEL if owner is Side.LOCAL:
            return _delayed(channel, contract)
        case ContractKind.TO_REMOTE if owner is Side.REMOTE:
            return _to_remote(channel)
        case ContractKind.ANCHOR:
            key = channel.funding_pubkey(Side.LOCAL)
            return Claim(SpendPath.ANCHOR, KeyRole.FUNDING, key, scripts.anchor(key))
        case ContractKind.OFFERED_HTLC if owner is Side.LOCAL:
            return _second_level(channel, contract, SpendPath.HTLC_TIMEOUT)
        case ContractKind.RECEIVED_HTLC if owner is Side.LOCAL:
            _check_preimage(contract, spent.preimage)
            return _second_level(channel, contract, SpendPath.HTLC_SUCCESS)
        case ContractKind.OFFERED_HTLC:
            keys, htlc, script = _htlc_parts(channel, contract)
            return Claim(
                SpendPath.TIMEOUT_CLAIM,
                KeyRole.HTLC,
                keys.other_htlc,
                script,
                csv,
                htlc.cltv_expiry,
            )
        case ContractKind.RECEIVED_HTLC:
            _check_preimage(contract, spent.preimage)
            keys, _, script = _htlc_parts(channel, contract)
            return Claim(SpendPath.PREIMAGE_CLAIM, KeyRole.HTLC, keys.other_htlc, script, csv)
        case ContractKind.REVOKED_TO_LOCAL | ContractKind.REVOKED_SECOND_LEVEL if (
            owner is Side.REMOTE
        ):
            return _revoked_delayed(channel, contract, spent)
        case ContractKind.REVOKED_HTLC if owner is Side.REMOTE:
            return _revoked_htlc(channel, contract, spent)
        case _:
            raise SigningRefused(
                RefusalReason.WRONG_CONTRACT,
                f"a {contract.kind.value} on the {owner.value} commitment cannot be spent by us",
            )


def _delayed(channel: Channel, contract: Contract) -> Claim:
    keys = _keys(channel, contract)
    return Claim(
        SpendPath.DELAYED,
        KeyRole.DELAYED,
        keys.delayed,
        to_local_script(channel, keys),
        channel.remote.to_self_delay,
    )


def _to_remote(channel: Channel) -> Claim:
    key = channel.local.payment_basepoint
    if not channel.anchors:
        return Claim(SpendPath.TO_REMOTE, KeyRole.PAYMENT, key, p2wpkh(key))
    return Claim(SpendPath.TO_REMOTE_ANCHORED, KeyRole.PAYMENT, key, scripts.to_remote(key), 1)


def _second_level(channel: Channel, contract: Contract, path: SpendPath) -> Claim:
    keys, htlc, script = _htlc_parts(channel, contract)
    return Claim(
        path,
        KeyRole.HTLC,
        keys.owner_htlc,
        script,
        1 if channel.anchors else 0,
        htlc.cltv_expiry if path is SpendPath.HTLC_TIMEOUT else 0,
        p2wsh(to_local_script(channel, keys)),
        keys.other_htlc,
    )


def _revoked_delayed(channel: Channel, contract: Contract, spent: SigningInput) -> Claim:
    _check_revealed(contract, spent.per_commitment_secret)
    keys = _keys(channel, contract)
    return Claim(
        SpendPath.REVOKED_DELAYED,
        KeyRole.REVOCATION,
        keys.revocation,
        to_local_script(channel, keys),
    )


def _revoked_htlc(channel: Channel, contract: Contract, spent: SigningInput) -> Claim:
    _check_revealed(contract, spent.per_commitment_secret)
    keys, _, script = _htlc_parts(channel, contract)
    return Claim(SpendPath.REVOKED_HTLC, KeyRole.REVOCATION, keys.revocation, script)


def _htlc_parts(channel: Channel, contract: Contract) -> tuple[CommitmentKeys, Htlc, Script]:
    htlc = contract.htlc
    if htlc is None:
        raise SigningRefused(RefusalReason.MALFORMED_REQUEST, "an HTLC contract without its HTLC")
    wanted = {
        ContractKind.OFFERED_HTLC: Direction.OFFERED,
        ContractKind.RECEIVED_HTLC: Direction.RECEIVED,
    }.get(contract.kind, htlc.direction)
    if htlc.direction is not wanted:
        raise SigningRefused(
            RefusalReason.WRONG_CONTRACT, f"a {contract.kind.value} whose HTLC was {htlc.direction}"
        )
    keys = _keys(channel, contract)
    return keys, htlc, htlc_script(channel, keys, htlc)


def _keys(channel: Channel, contract: Contract) -> CommitmentKeys:
    point = contract.per_commitment_point
    if point is None:
        raise SigningRefused(
            RefusalReason.MALFORMED_REQUEST, f"a {contract.kind.value} without its commitment point"
        )
    return commitment_keys(channel, contract.commitment_owner, parse_point(point))


def _check_preimage(contract: Contract, preimage: Secret | None) -> None:
    if preimage is None or contract.htlc is None:
        raise SigningRefused(RefusalReason.WRONG_SECRET, "an HTLC claim without its preimage")
    if len(preimage) != 32 or sha256(preimage).digest() != contract.htlc.payment_hash:
        raise SigningRefused(RefusalReason.WRONG_SECRET, "this preimage is of another HTLC")


def _check_revealed(contract: Contract, secret: Secret | None) -> None:
    if secret is None:
        raise SigningRefused(
            RefusalReason.WRONG_SECRET, "a revoked output without the revealed secret"
        )
    if len(secret) != 32 or public_key(secret) != contract.per_commitment_point:
        raise SigningRefused(
            RefusalReason.WRONG_SECRET, "this secret does not revoke that commitment"
        )


def witness_of(
    channel: Channel, claim: Claim, spent: SigningInput, signature: bytes
) -> witness.Witness:
    """The finished witness of `claim`. `signature` is ours, DER with its sighash byte.

    Raises:
        SigningRefused: a second-level claim without the peer's signature, or no preimage.
    """
    script = claim.script
    match claim.path:
        case SpendPath.DELAYED:
            return witness.delayed(signature, script)
        case SpendPath.REVOKED_DELAYED:
            return witness.revoked_delayed(signature, script)
        case SpendPath.TO_REMOTE:
            return witness.to_remote(signature, claim.public_key)
        case SpendPath.TO_REMOTE_ANCHORED | SpendPath.ANCHOR:
            return witness.single_signature(signature, script)
        case SpendPath.HTLC_TIMEOUT:
            return witness.htlc_timeout(_remote_signature(channel, spent), signature, script)
        case SpendPath.HTLC_SUCCESS:
            remote = _remote_signature(channel, spent)
            return witness.htlc_success(remote, signature, _preimage(spent), script)
        case SpendPath.PREIMAGE_CLAIM:
            return witness.preimage_claim(signature, _preimage(spent), script)
        case SpendPath.TIMEOUT_CLAIM:
            return witness.timeout_claim(signature, script)
        case SpendPath.REVOKED_HTLC:
            return witness.revoked_htlc(signature, claim.public_key, script)
    assert_never(claim.path)


def _preimage(spent: SigningInput) -> Secret:
    if spent.preimage is None:
        raise SigningRefused(RefusalReason.WRONG_SECRET, "an HTLC claim without its preimage")
    return spent.preimage


def _remote_signature(channel: Channel, spent: SigningInput) -> bytes:
    htlc = spent.contract.htlc if spent.contract else None
    if htlc is None or htlc.remote_signature is None:
        raise SigningRefused(
            RefusalReason.BAD_REMOTE_SIGNATURE, "no signature of the peer for this HTLC"
        )
    return witness.encoded(htlc.remote_signature, remote_sighash(channel))
