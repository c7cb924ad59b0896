"""Every commitment that two LDK nodes made in the recordings, rebuilt from its numbers."""

from __future__ import annotations

import pytest

from contractcourt.bitcoin.sighash import SIGHASH_ALL, segwit_v0
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3 import closing, points
from contractcourt.bolt3.commitment import (
    BuiltCommitment,
    OutputKind,
    build_commitment,
    channel_factor,
)
from contractcourt.bolt3.htlc import build_second_level, verify_remote_signature
from contractcourt.bolt3.htlc_spends import HtlcSpendKind, read_htlc_spend
from contractcourt.bolt3.numbers import decode
from contractcourt.bolt3.recognition import recognise_outputs
from contractcourt.bolt3.scripts import funding_script
from contractcourt.channel import Channel, Side
from contractcourt.units import PaymentHash, Script, Signature
from tests.ldk_fixtures import LdkFixture, Recorded, commitment_of, fixture_names

_KINDS = {
    "to_local": OutputKind.TO_LOCAL,
    "to_remote": OutputKind.TO_REMOTE,
    "anchor_A": OutputKind.ANCHOR_LOCAL,
    "anchor_B": OutputKind.ANCHOR_REMOTE,
    "htlc_offered_by_A": OutputKind.OFFERED_HTLC,
    "htlc_received_by_A": OutputKind.RECEIVED_HTLC,
    "htlc_offered_by_B": OutputKind.RECEIVED_HTLC,
    "htlc_received_by_B": OutputKind.OFFERED_HTLC,
}

_SPENDS = {
    "htlc_timeout_tx": HtlcSpendKind.HTLC_TIMEOUT,
    "htlc_success_tx": HtlcSpendKind.HTLC_SUCCESS,
    "claim_preimage": HtlcSpendKind.PREIMAGE_CLAIM,
    "claim_timeout": HtlcSpendKind.TIMEOUT_CLAIM,
    "revocation": HtlcSpendKind.REVOCATION,
}


_SHOW_PREIMAGE = (HtlcSpendKind.HTLC_SUCCESS, HtlcSpendKind.PREIMAGE_CLAIM)


@pytest.fixture(params=fixture_names())
def recording(request: pytest.FixtureRequest) -> LdkFixture:
    return LdkFixture.load(request.param)


def rebuild(channel: Channel, owner: Side, recorded: Recorded) -> BuiltCommitment:
    told = commitment_of(channel, recorded)
    assert told.per_commitment_point is not None
    return build_commitment(
        channel,
        owner,
        told.number,
        told.per_commitment_point,
        told.feerate_per_kw,
        told.to_local_msat,
        told.to_remote_msat,
        told.htlcs,
    )


def test_every_commitment_has_the_recorded_txid_and_outputs(recording: LdkFixture) -> None:
    channel = recording.channel
    for owner, recorded in recording.commitments():
        built = rebuild(channel, owner, recorded)
        assert built.tx.txid().hex() == recorded["txid"]
        assert built.tx.serialize().hex() == recorded["tx_unsigned"]
        assert [output.kind for output in built.outputs] == [
            _KINDS[output["role"]] for output in recorded["outputs"]
        ]
        for output, told in zip(built.outputs, recorded["outputs"], strict=True):
            assert str(output.script_pubkey) == told["script_pubkey"]
            if told.get("witness_script") and output.witness_script is not None:
                assert str(output.witness_script) == told["witness_script"]


def test_every_commitment_is_signed_by_the_other_side(recording: LdkFixture) -> None:
    channel = recording.channel
    script = funding_script(channel.local.funding_pubkey, channel.remote.funding_pubkey)
    for owner, recorded in recording.commitments():
        tx = Transaction.parse(bytes.fromhex(recorded["tx_unsigned"]))
        digest = segwit_v0(tx, 0, script, channel.capacity_sat, SIGHASH_ALL)
        signer = channel.side(owner.other).funding_pubkey
        assert points.verify(signer, digest, Signature.parse(recorded["counterparty_sig"]))


def test_every_second_level_transaction_is_signed_by_the_other_side(recording: LdkFixture) -> None:
    channel = recording.channel
    for owner, recorded in recording.commitments():
        built = rebuild(channel, owner, recorded)
        told = {h["output_index"]: h for h in recorded["htlcs"] if not h["dust"]}
        with_htlc = [output for output in built.outputs if output.htlc is not None]
        assert [output.index for output in with_htlc] == sorted(told)
        for output in with_htlc:
            feerate = recorded["feerate_per_kw"]
            tx = build_second_level(channel, built.keys, built.tx.txid(), output, feerate)
            assert tx.serialize().hex() == told[output.index]["second_level_tx_unsigned"]
            assert verify_remote_signature(channel, built, output, feerate)


def test_every_commitment_tells_its_number(recording: LdkFixture) -> None:
    factor = channel_factor(recording.channel)
    assert f"{factor:012x}" == recording.document["channel"]["obscuring_factor"]
    for _, recorded in recording.commitments():
        tx = Transaction.parse(bytes.fromhex(recorded["tx_unsigned"]))
        assert decode(tx.locktime, tx.inputs[0].sequence, factor) == recorded["number"]


def test_every_output_of_the_closing_transaction_is_recognised(recording: LdkFixture) -> None:
    closing_tx, roles = recording.closing_tx, recording.closing_roles
    told = recording.document["closing_tx"].get("commitment")
    if recording.document["closing_tx"]["kind"] == "coop":
        assert told is None
        assert closing.closing_format(closing_tx) is closing.ClosingFormat.LEGACY
        return
    assert closing.closing_format(closing_tx) is None
    owner = Side.LOCAL if told["holder"] == "A" else Side.REMOTE
    commitment = commitment_of(recording.channel, told)
    found = recognise_outputs(
        recording.channel, owner, commitment.per_commitment_point, closing_tx, commitment.htlcs
    )
    assert [output.kind for output in found] == [_KINDS[role] for role in roles]
    assert [output.index for output in found] == list(range(len(closing_tx.outputs)))


def test_a_cooperative_close_is_rebuilt_from_its_outputs(recording: LdkFixture) -> None:
    if recording.document["closing_tx"]["kind"] != "coop":
        return
    recorded = recording.closing_tx
    outputs = [(output.value, Script(output.script_pubkey)) for output in recorded.outputs]
    built = closing.build_closing(recording.channel.funding_outpoint, outputs[::-1])
    assert built.txid() == recorded.txid()


def test_every_htlc_spend_reads_as_it_was_meant(recording: LdkFixture) -> None:
    for confirmed in recording.document["confirmed"]:
        tx = Transaction.parse(bytes.fromhex(confirmed["hex"]))
        for spending, told in zip(tx.inputs, confirmed["inputs"], strict=True):
            if not told["role"].startswith("htlc_"):
                continue
            offered = told["role"].startswith("htlc_offered")
            spend = read_htlc_spend(spending.witness, offered_by_owner=offered)
            assert spend is not None
            assert spend.kind is _SPENDS[told["path"]]
            revealed = spend.reveals(PaymentHash.parse(told["payment_hash"]))
            assert revealed == spend.preimage
            assert (revealed is not None) == (spend.kind in _SHOW_PREIMAGE)
