"""Signatures of one request with the keys of its channels and coins; no vault, no network.

Each function judges the request by the law's rules first, and verifies every signature that it
made under the key the channel was registered with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.script import p2wpkh_script_code
from contractcourt.bitcoin.sighash import SIGHASH_ALL, segwit_v0
from contractcourt.bitcoin.transaction import Transaction, TxIn
from contractcourt.bolt3 import points, witness
from contractcourt.channel import Side
from contractcourt.claims import Claim, KeyRole, witness_of
from contractcourt.fee_rules import FeePolicy, check_feerate
from contractcourt.signing import (
    RefusalReason,
    SigningInput,
    SigningPurpose,
    SigningRefused,
    SigningRequest,
)
from contractcourt.signing_policy import check_bumped, check_commitment
from contractcourt.sweep_rules import Allowed, check_sweep
from contractcourt.units import PublicKey, Script, Secret
from workers.signer.channel_keys import ChannelKeys
from workers.signer.fee_wallet import FeeWalletKeys


def sign_commitment(keys: ChannelKeys, request: SigningRequest, tx: Transaction) -> Transaction:
    """Our commitment with both signatures.

    Raises:
        SigningRefused: any rule of `check_commitment`.
        KeysMissing: the funding key of a splice.
    """
    channel = request.inputs[0].owner
    commitment, script = check_commitment(request, tx, keys.per_commitment_point)
    local, remote = channel.funding_pubkey(Side.LOCAL), channel.funding_pubkey(Side.REMOTE)
    secret = keys.private_key(KeyRole.FUNDING, None, None)
    ours = _signature(secret, local, tx, 0, request.inputs[0], script)
    theirs = witness.encoded(commitment.remote_signature)
    return _with_witnesses(tx, [witness.funding((local, ours), (remote, theirs), script)])


def sign_sweep(
    keys: Mapping[OutPoint, ChannelKeys],
    wallet: FeeWalletKeys | None,
    request: SigningRequest,
    tx: Transaction,
    allowed: Allowed,
    policy: FeePolicy,
) -> Transaction:
    """A sweep or a bump with the witness of every input.

    Args:
        keys: those of every channel that an input belongs to, by channel point.
        wallet: those of the node's fee wallet; needed for its coins.

    Raises:
        SigningRefused, ValueUnproved: any rule of `check_sweep`, `check_bumped` and
            `check_feerate`.
        KeysMissing: the funding key of a splice, for its anchor.
    """
    claims = check_sweep(request, tx, allowed, policy)
    if request.purpose is SigningPurpose.BUMP:
        bumped = keys[request.channels[0].channel_point]
        check_bumped(request, bumped.per_commitment_point)
    witnesses = []
    for index, (claim, spent) in enumerate(zip(claims, request.inputs, strict=True)):
        if claim is None:
            witnesses.append(_coin_witness(wallet, tx, index, spent))
        else:
            ours = keys[spent.owner.channel_point]
            witnesses.append(_contract_witness(ours, claim, tx, index, spent))
    signed = _with_witnesses(tx, witnesses)
    check_feerate(request, signed, policy)
    return signed


def _contract_witness(
    keys: ChannelKeys, claim: Claim, tx: Transaction, index: int, spent: SigningInput
) -> witness.Witness:
    point = spent.contract.per_commitment_point if spent.contract else None
    secret = keys.private_key(claim.key, point, spent.per_commitment_secret)
    ours = _signature(secret, claim.public_key, tx, index, spent, claim.script_code)
    return witness_of(spent.owner, claim, spent, ours)


def _coin_witness(
    wallet: FeeWalletKeys | None, tx: Transaction, index: int, spent: SigningInput
) -> witness.Witness:
    if wallet is None or spent.wallet_index is None:
        raise SigningRefused(RefusalReason.WRONG_KEY, f"no fee wallet holds {spent.outpoint}")
    secret = wallet.private_key(spent.wallet_index)
    key = points.public_key(secret)
    ours = _signature(secret, key, tx, index, spent, p2wpkh_script_code(key))
    return witness.to_remote(ours, key)


def _signature(
    secret: Secret,
    expected: PublicKey,
    tx: Transaction,
    index: int,
    spent: SigningInput,
    script_code: Script,
) -> bytes:
    """Our SIGHASH_ALL signature of one input, encoded, and verified under the expected key."""
    digest = segwit_v0(tx, index, script_code, spent.value_sat, SIGHASH_ALL)
    signature = points.sign(secret, digest)
    if not points.verify(expected, digest, signature):
        raise SigningRefused(
            RefusalReason.WRONG_KEY, f"our signature of input {index} does not verify: wrong key"
        )
    return witness.encoded(signature)


def _with_witnesses(tx: Transaction, witnesses: Sequence[witness.Witness]) -> Transaction:
    inputs = tuple(
        TxIn(i.outpoint, i.script_sig, i.sequence, w)
        for i, w in zip(tx.inputs, witnesses, strict=True)
    )
    return Transaction(tx.version, inputs, tx.outputs, tx.locktime)
