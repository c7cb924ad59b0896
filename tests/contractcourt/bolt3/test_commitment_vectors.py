"""Appendices C and F: every commitment and second-level transaction, signatures included."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from contractcourt.bitcoin.sighash import SIGHASH_ALL, segwit_v0
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.bolt3 import witness
from contractcourt.bolt3.commitment import (
    BuiltCommitment,
    CommitmentOutput,
    build_commitment,
    is_trimmed,
)
from contractcourt.bolt3.derivation import derive_private_key
from contractcourt.bolt3.htlc import build_second_level, remote_sighash, verify_remote_signature
from contractcourt.bolt3.htlc_spends import HtlcSpendKind, read_htlc_spend
from contractcourt.bolt3.points import public_key, sign
from contractcourt.bolt3.recognition import recognise_outputs
from contractcourt.bolt3.scripts import funding_script
from contractcourt.channel import Direction, Side
from tests.vectors import (
    CommitmentCase,
    commitment_cases,
    common,
    mirrored,
    mirrored_htlc,
    preimage,
    secrets,
)

CASES = commitment_cases()


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> CommitmentCase:
    found: CommitmentCase = request.param
    return found


def build(case: CommitmentCase) -> BuiltCommitment:
    return build_commitment(
        case.channel,
        Side.LOCAL,
        case.number,
        case.per_commitment_point,
        case.feerate_per_kw,
        case.to_local_msat,
        case.to_remote_msat,
        case.htlcs,
    )


def htlc_outputs(built: BuiltCommitment) -> list[CommitmentOutput]:
    return [output for output in built.outputs if output.htlc is not None]


def with_witness(tx: Transaction, items: witness.Witness) -> bytes:
    (only,) = tx.inputs
    return replace(tx, inputs=(replace(only, witness=items),)).serialize()


def test_the_appendices_are_all_there() -> None:
    assert len(CASES) == 16 + 9
    assert sum(len(case.htlc_transactions) for case in CASES) == 33 + 15


def test_commitment_with_both_signatures(case: CommitmentCase) -> None:
    built = build(case)
    assert built.tx.txid() == case.txid
    local_key = bytes.fromhex(common()["local_funding_privkey"])
    remote_key = bytes.fromhex(secrets()["remote_funding_privkey"])
    ours, theirs = public_key(local_key), public_key(remote_key)
    script = funding_script(ours, theirs)
    digest = segwit_v0(built.tx, 0, script, case.channel.capacity_sat, SIGHASH_ALL)
    assert sign(remote_key, digest) == case.remote_signature
    items = witness.funding(
        (ours, witness.encoded(sign(local_key, digest))),
        (theirs, witness.encoded(case.remote_signature)),
        script,
    )
    assert with_witness(built.tx, items) == case.tx


def test_every_second_level_transaction_with_both_signatures(case: CommitmentCase) -> None:
    built = build(case)
    point = case.per_commitment_point
    own_key = derive_private_key(bytes.fromhex(secrets()["local_payment_basepoint_secret"]), point)
    other_key = derive_private_key(
        bytes.fromhex(secrets()["remote_payment_basepoint_secret"]), point
    )
    outputs = htlc_outputs(built)
    told = case.htlc_transactions
    assert [output.index for output in outputs] == [h.output_index for h in told]
    for output, expected in zip(outputs, told, strict=True):
        assert output.htlc is not None
        assert output.witness_script is not None
        script, value = output.witness_script, output.value_sat
        tx = build_second_level(
            case.channel, built.keys, built.tx.txid(), output, case.feerate_per_kw
        )
        hash_type = remote_sighash(case.channel)
        theirs = sign(other_key, segwit_v0(tx, 0, script, value, hash_type))
        assert theirs == expected.remote_signature
        remote = witness.encoded(theirs, hash_type)
        local = witness.encoded(sign(own_key, segwit_v0(tx, 0, script, value, SIGHASH_ALL)))
        if output.htlc.direction is Direction.OFFERED:
            items = witness.htlc_timeout(remote, local, script)
        else:
            items = witness.htlc_success(remote, local, preimage(output.htlc.id), script)
        assert with_witness(tx, items) == expected.tx


def test_the_peers_signatures_verify_and_no_other_does(case: CommitmentCase) -> None:
    built = build(case)
    for output, told in zip(htlc_outputs(built), case.htlc_transactions, strict=True):
        assert output.htlc is not None
        signed = replace(
            output,
            htlc=msgspec.structs.replace(output.htlc, remote_signature=told.remote_signature),
        )
        feerate = case.feerate_per_kw
        assert verify_remote_signature(case.channel, built, signed, feerate)
        assert not verify_remote_signature(case.channel, built, output, feerate)
        moved = replace(signed, index=output.index + 1)
        assert not verify_remote_signature(case.channel, built, moved, feerate)


def test_trimmed_htlcs_are_those_of_the_appendix(case: CommitmentCase) -> None:
    trimmed = {
        htlc.id
        for htlc in case.htlcs
        if is_trimmed(case.channel, Side.LOCAL, case.feerate_per_kw, htlc)
    }
    assert trimmed == set(case.trimmed_ids)
    kept = {output.htlc.id for output in htlc_outputs(build(case)) if output.htlc is not None}
    assert kept == {htlc.id for htlc in case.htlcs} - trimmed


def test_every_output_is_recognised_on_the_signed_transaction(case: CommitmentCase) -> None:
    tx = Transaction.parse(case.tx)
    found = recognise_outputs(
        case.channel, Side.LOCAL, case.per_commitment_point, tx, case.htlcs[::-1]
    )
    assert found == build(case).outputs


def test_the_peer_builds_the_same_commitment_from_its_own_view(case: CommitmentCase) -> None:
    theirs = build_commitment(
        mirrored(case.channel),
        Side.REMOTE,
        case.number,
        case.per_commitment_point,
        case.feerate_per_kw,
        case.to_remote_msat,
        case.to_local_msat,
        tuple(mirrored_htlc(htlc) for htlc in case.htlcs),
    )
    assert theirs.tx.txid() == case.txid


def test_each_second_level_witness_reads_as_what_it_is(case: CommitmentCase) -> None:
    by_index = {output.index: output for output in build(case).outputs}
    for told in case.htlc_transactions:
        htlc = by_index[told.output_index].htlc
        assert htlc is not None
        offered = htlc.direction is Direction.OFFERED
        items = Transaction.parse(told.tx).inputs[0].witness
        spend = read_htlc_spend(items, offered_by_owner=offered)
        assert spend is not None
        if offered:
            assert spend.kind is HtlcSpendKind.HTLC_TIMEOUT
        else:
            assert spend.kind is HtlcSpendKind.HTLC_SUCCESS
            assert spend.reveals(htlc.payment_hash) == preimage(htlc.id)
        assert read_htlc_spend(items, offered_by_owner=not offered) is None
