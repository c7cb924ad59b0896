"""The HTLC transactions of BOLT 3's vectors, signed byte for byte as the appendices print them."""

from __future__ import annotations

import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.channel import Direction, Htlc, Side
from contractcourt.contract import Contract, ContractKind, ContractStage
from contractcourt.fee_rules import DEFAULT_FEE_POLICY
from contractcourt.signing import SigningInput, contract_input, sweep_request
from contractcourt.signing_policy import check_request
from contractcourt.sweep_rules import Allowed
from contractcourt.units import BlockHeight, Blocks, HexBytes, Satoshi, Script, Secret
from tests import vectors
from workers.signer.channel_keys import ChannelKeys
from workers.signer.signatures import sign_sweep

CASES = [case for case in vectors.commitment_cases() if case.htlc_transactions]

KINDS = {
    Direction.OFFERED: ContractKind.OFFERED_HTLC,
    Direction.RECEIVED: ContractKind.RECEIVED_HTLC,
}


def vector_keys() -> ChannelKeys:
    hidden = vectors.secrets()
    payment = Secret.parse(hidden["local_payment_basepoint_secret"])
    return ChannelKeys(
        funding_key=Secret.parse(vectors.common()["local_funding_privkey"]),
        revocation_base_key=Secret(b"\x55" * 32),
        payment_key=payment,
        delayed_payment_base_key=Secret.parse(hidden["local_delayed_payment_basepoint_secret"]),
        htlc_base_key=payment,
        commitment_seed=Secret(bytes(32)),
    )


def spent_htlc(case: vectors.CommitmentCase, at: vectors.HtlcTransactionCase) -> SigningInput:
    output = Transaction.parse(case.tx).outputs[at.output_index]
    htlc = next(h for h in candidates(case, at) if h.amount_msat // 1000 == output.value)
    contract = Contract(
        outpoint=OutPoint.of(case.txid, at.output_index),
        kind=KINDS[htlc.direction],
        value_sat=Satoshi(output.value),
        script_pubkey=Script(output.script_pubkey),
        commitment_owner=Side.LOCAL,
        commitment_number=case.number,
        per_commitment_point=case.per_commitment_point,
        csv_delay=Blocks(0),
        stage=ContractStage.SWEEPING,
        confirmed_height=BlockHeight(1),
        htlc=htlc,
    )
    received = htlc.direction is Direction.RECEIVED
    preimage = vectors.preimage(htlc.id) if received else None
    return contract_input(case.channel, contract, preimage)


def candidates(case: vectors.CommitmentCase, at: vectors.HtlcTransactionCase) -> list[Htlc]:
    """The HTLCs that this transaction may spend, told apart by its expiry."""
    locktime = Transaction.parse(at.tx).locktime
    return [
        Htlc(h.id, h.direction, h.amount_msat, h.payment_hash, h.cltv_expiry, at.remote_signature)
        for h in case.htlcs
        if locktime == (h.cltv_expiry if h.direction is Direction.OFFERED else 0)
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_second_level_transaction_is_signed_as_printed(
    case: vectors.CommitmentCase,
) -> None:
    vector_keys().check_belongs_to(case.channel)
    for at in case.htlc_transactions:
        printed = Transaction.parse(at.tx)
        unsigned = HexBytes(printed.serialize(with_witness=False))
        request = sweep_request(case.channel.node, unsigned, [spent_htlc(case, at)])
        keys = {case.channel.channel_point: vector_keys()}
        tx = check_request(request)
        signed = sign_sweep(keys, None, request, tx, Allowed(()), DEFAULT_FEE_POLICY)
        assert signed.serialize() == at.tx
