"""Signatures against the closings that LDK recorded: the same transactions, valid witnesses."""

from __future__ import annotations

import msgspec
import pytest

from chain import consensus
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.script import p2wsh
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.bolt3 import scripts
from contractcourt.contract import ContractKind
from contractcourt.fee_rules import DEFAULT_FEE_POLICY
from contractcourt.signing import SigningRequest, contract_input, sweep_request
from contractcourt.signing_policy import check_request
from contractcourt.sweep_rules import Allowed
from contractcourt.units import HexBytes, Satoshi, Script
from tests.workers.ldk_signing import NAMES, Recording
from workers.signer.signatures import sign_commitment, sign_sweep

SPENDS = [name for name in NAMES if Recording(name).our_spends()]


def assert_valid(request: SigningRequest, signed: Transaction) -> None:
    spent = [(item.value_sat, item.script_pubkey) for item in request.inputs]
    assert consensus.verify_transaction(signed.serialize(), spent) is None


def without_signatures(witness: tuple[bytes, ...]) -> list[bytes]:
    """The witness with every DER signature blanked: LDK grinds its own, we do not."""
    return [b"sig" if item[:1] == b"\x30" and 70 <= len(item) <= 73 else item for item in witness]


def signed_sweep(recording: Recording, request: SigningRequest) -> Transaction:
    tx = check_request(request)
    allowed = Allowed({Script(output.script_pubkey) for output in tx.outputs})
    keys = {recording.channel.channel_point: recording.keys}
    return sign_sweep(keys, None, request, tx, allowed, DEFAULT_FEE_POLICY)


@pytest.mark.parametrize("name", NAMES)
def test_the_keys_of_a_recording_are_its_channels(name: str) -> None:
    recording = Recording(name)
    recording.keys.check_belongs_to(recording.channel)


@pytest.mark.parametrize("name", NAMES)
def test_our_commitment_points_are_those_that_ldk_announced(name: str) -> None:
    recording = Recording(name)
    announced = recording.document["per_commitment"]["A"]["first_points"]
    ours = [str(recording.keys.per_commitment_point(number)) for number in range(len(announced))]
    assert ours == announced


@pytest.mark.parametrize("name", NAMES)
def test_every_commitment_of_ours_is_signed_with_ldks_txid_and_script(name: str) -> None:
    recording = Recording(name)
    for commitment, theirs in recording.local_commitments():
        request = recording.commitment_request(commitment)
        ours = sign_commitment(recording.keys, request, check_request(request))
        assert ours.txid() == theirs.txid() == commitment.txid
        mine, other = ours.inputs[0].witness, theirs.inputs[0].witness
        assert without_signatures(mine) == without_signatures(other)
        assert_valid(request, ours)


@pytest.mark.parametrize("name", SPENDS)
def test_every_spend_of_ours_gets_the_witness_that_ldk_gave_it(name: str) -> None:
    recording = Recording(name)
    for request, theirs in recording.our_spends():
        ours = signed_sweep(recording, request)
        assert ours.txid() == theirs.txid()
        for mine, other in zip(ours.inputs, theirs.inputs, strict=True):
            assert without_signatures(mine.witness) == without_signatures(other.witness)
        assert_valid(request, ours)


def test_our_anchor_and_our_to_remote_are_swept_together() -> None:
    recording = Recording("anchors_3_remote_close")
    request, _ = recording.our_spends()[0]
    swept = request.inputs[0]
    assert swept.contract is not None
    closing = Transaction.parse(bytes.fromhex(recording.document["closing_tx"]["hex"]))
    script = p2wsh(scripts.anchor(recording.channel.local.funding_pubkey))
    vout = next(i for i, o in enumerate(closing.outputs) if o.script_pubkey == script)
    anchor = msgspec.structs.replace(
        swept.contract,
        outpoint=OutPoint.of(closing.txid(), vout),
        kind=ContractKind.ANCHOR,
        value_sat=Satoshi(330),
        script_pubkey=script,
    )
    sweep_script = recording.channel.sweep_script
    tx = Transaction(
        2,
        (TxIn(anchor.outpoint, sequence=0xFFFFFFFD), TxIn(swept.outpoint, sequence=1)),
        (TxOut(swept.value_sat, bytes(sweep_script)),),
    )
    contracts = (anchor, swept.contract)
    inputs = [contract_input(recording.channel, contract) for contract in contracts]
    parents = [recording.parent(swept.outpoint.txid)]
    both = sweep_request(recording.channel.node, HexBytes(tx.serialize()), inputs, parents)
    assert_valid(both, signed_sweep(recording, both))
