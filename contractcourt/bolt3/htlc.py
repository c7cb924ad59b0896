"""Second-level transactions: HTLC-timeout and HTLC-success (BOLT 3; rules H1 to H4)."""

from __future__ import annotations

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.script import p2wsh
from contractcourt.bitcoin.sighash import SIGHASH_ALL, SIGHASH_SINGLE_ANYONECANPAY, segwit_v0
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.bolt3 import points
from contractcourt.bolt3.commitment import (
    BuiltCommitment,
    CommitmentOutput,
    offered_by_owner,
    second_level_fee,
    to_local_script,
)
from contractcourt.bolt3.keys import CommitmentKeys
from contractcourt.channel import Channel
from contractcourt.errors import LawError
from contractcourt.units import FeeratePerKw, Txid


def remote_sighash(channel: Channel) -> int:
    """The hash type of the signature by who does not own the commitment (H2, H3)."""
    return SIGHASH_SINGLE_ANYONECANPAY if channel.anchors else SIGHASH_ALL


def build_second_level(
    channel: Channel,
    keys: CommitmentKeys,
    commitment_txid: Txid,
    output: CommitmentOutput,
    feerate_per_kw: FeeratePerKw,
) -> Transaction:
    """The unsigned HTLC-timeout (an HTLC the owner offered) or HTLC-success transaction.

    As both sides sign it: one input, one output. Under anchors more inputs and outputs may be
    added to the final one, as long as these two keep a common index (H4).

    Args:
        keys: of the commitment that `output` stands on.
        feerate_per_kw: of that commitment.

    Raises:
        LawError: `output` is no HTLC, or is worth less than the fee.
    """
    htlc = output.htlc
    if htlc is None:
        raise LawError("only an HTLC output has a second-level transaction")
    timeout = offered_by_owner(keys.owner, htlc)
    fee = second_level_fee(channel, keys.owner, feerate_per_kw, htlc)
    value = output.value_sat - fee
    if value < 0:
        raise LawError(f"htlc {htlc.id} of {output.value_sat} sat cannot pay a fee of {fee} sat")
    script = to_local_script(channel, keys)
    return Transaction(
        version=2,
        inputs=(
            TxIn(OutPoint.of(commitment_txid, output.index), sequence=1 if channel.anchors else 0),
        ),
        outputs=(TxOut(value, p2wsh(script)),),
        locktime=htlc.cltv_expiry if timeout else 0,
    )


def verify_remote_signature(
    channel: Channel,
    built: BuiltCommitment,
    output: CommitmentOutput,
    feerate_per_kw: FeeratePerKw,
) -> bool:
    """Whether the HTLC's `remote_signature` signs its second-level transaction.

    `remote_signature` is that of the side which does not own the commitment. False when `output`
    is no HTLC or has no signature.
    """
    if output.htlc is None or output.htlc.remote_signature is None or output.witness_script is None:
        return False
    tx = build_second_level(channel, built.keys, built.tx.txid(), output, feerate_per_kw)
    digest = segwit_v0(tx, 0, output.witness_script, output.value_sat, remote_sighash(channel))
    return points.verify(built.keys.other_htlc, digest, output.htlc.remote_signature)
