"""Our own commitment as a node sends it, brought to the one form that the law keeps.

A node may send it signed by both sides (as it would publish it), or unsigned together with the
peer's signature. The law keeps it unsigned, with the peer's signature in compact form.
"""

from __future__ import annotations

from dataclasses import replace

from contractcourt.bitcoin.sighash import SIGHASH_ALL, segwit_v0
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3.commitment import funding_script
from contractcourt.bolt3.points import from_der, verify
from contractcourt.case import Case
from contractcourt.channel import Channel, LocalCommitment, Side
from contractcourt.errors import CommitmentMismatch, InvalidSignature
from contractcourt.units import FeeratePerKw, HexBytes, Millisatoshi, Signature
from workers.gateway.parts import LocalCommitmentData

#: Of a 2-of-2 spend: the empty item, two signatures, the script (BOLT 3 B1).
_WITNESS_ITEMS = 4


def normalise(data: LocalCommitmentData, case: Case) -> LocalCommitment:
    """The commitment with its peer's signature verified; `per_commitment_point` as sent.

    Raises:
        MalformedTransaction: `tx` is none.
        CommitmentMismatch: it does not spend the channel's funding output alone.
        InvalidSignature: there is no signature of the peer that verifies.
        OutOfOrder: it spends a spliced funding output whose capacity is not known yet.
    """
    tx = Transaction.parse(data.tx)
    unsigned = replace(tx, inputs=tuple(replace(item, witness=()) for item in tx.inputs))
    channel = _channel(unsigned, case)
    digest = segwit_v0(unsigned, 0, funding_script(channel), channel.capacity_sat, SIGHASH_ALL)
    sent = data.remote_signature
    signatures = _signatures_in(tx) if sent is None else (sent,)
    return LocalCommitment(
        number=data.number,
        txid=unsigned.txid(),
        tx=HexBytes(unsigned.serialize()),
        remote_signature=_verified(channel, digest, signatures),
        feerate_per_kw=FeeratePerKw(data.feerate_per_kw),
        to_local_msat=Millisatoshi(data.to_local_msat),
        to_remote_msat=Millisatoshi(data.to_remote_msat),
        htlcs=tuple(htlc.to_htlc() for htlc in data.htlcs),
        per_commitment_point=data.per_commitment_point,
    )


def _channel(tx: Transaction, case: Case) -> Channel:
    """On the funding that `tx` spends."""
    if len(tx.inputs) != 1 or tx.inputs[0].script_sig:
        raise CommitmentMismatch("a commitment has one input, and a witness instead of scriptSig")
    spends = tx.inputs[0].outpoint
    funding = case.funding_at(spends)
    if funding is None:
        raise CommitmentMismatch(
            f"tx spends {spends}, but the channel is funded by {case.channel.funding_outpoint}"
        )
    return case.channel_on(funding)


def _signatures_in(tx: Transaction) -> tuple[Signature, ...]:
    witness = tx.inputs[0].witness
    if not witness:
        raise InvalidSignature("tx is unsigned: send remote_signature with it")
    if len(witness) != _WITNESS_ITEMS:
        raise InvalidSignature("the witness of tx is not that of a 2-of-2 funding output")
    found = []
    for item in witness[1:3]:
        if item[-1:] != bytes([SIGHASH_ALL]):
            continue
        try:
            found.append(from_der(item[:-1]))
        except ValueError:
            continue
    return tuple(found)


def _verified(channel: Channel, digest: bytes, signatures: tuple[Signature, ...]) -> Signature:
    for signature in signatures:
        if verify(channel.funding_pubkey(Side.REMOTE), digest, signature):
            return signature
    raise InvalidSignature(
        "the peer's signature does not verify over tx under its funding_pubkey and the channel's "
        "capacity: send the commitment_signed signature of this very transaction, and where a "
        "splice brought new keys, those first in channel.funding_replaced"
    )
