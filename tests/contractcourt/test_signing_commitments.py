"""Hostile commitments: only the one that its own numbers describe is signed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from msgspec.structs import replace as with_fields

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxOut
from contractcourt.signing import (
    RefusalReason,
    SigningRefused,
    SigningRequest,
)
from contractcourt.signing_policy import (
    check_commitment,
    check_request,
)
from contractcourt.units import (
    FeeratePerKw,
    Millisatoshi,
    PublicKey,
    Satoshi,
    Signature,
    Txid,
)
from tests.contractcourt.hostile import FOREIGN, changed, set_output, set_sequence, with_channel
from tests.workers.ldk_signing import Recording


def commitment_reason(
    request: SigningRequest, own_point: Callable[[int], PublicKey]
) -> RefusalReason:
    with pytest.raises(SigningRefused) as caught:
        check_commitment(request, check_request(request), own_point)
    return caught.value.reason


def commitment() -> tuple[Recording, SigningRequest]:
    recording = Recording("anchors_4_local_close_htlcs")
    return recording, recording.commitment_request(recording.local_commitments()[-1][0])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"number": 3}, RefusalReason.WRONG_COMMITMENT),
        ({"number": -1}, RefusalReason.MALFORMED_REQUEST),
        ({"number": 2**48}, RefusalReason.MALFORMED_REQUEST),
        ({"feerate_per_kw": FeeratePerKw(5000)}, RefusalReason.WRONG_COMMITMENT),
        ({"to_local_msat": Millisatoshi(1)}, RefusalReason.WRONG_COMMITMENT),
        ({"to_remote_msat": Millisatoshi(-(2**70))}, RefusalReason.WRONG_COMMITMENT),
        ({"to_local_msat": Millisatoshi(2**62)}, RefusalReason.WRONG_COMMITMENT),
        ({"htlcs": ()}, RefusalReason.WRONG_COMMITMENT),
        ({"remote_signature": Signature(b"\x01" * 64)}, RefusalReason.BAD_REMOTE_SIGNATURE),
        ({"remote_signature": Signature(b"")}, RefusalReason.BAD_REMOTE_SIGNATURE),
    ],
)
def test_a_commitment_that_its_numbers_do_not_describe_is_refused(
    changes: dict[str, object], reason: RefusalReason
) -> None:
    recording, request = commitment()
    assert request.commitment is not None
    request = with_fields(request, commitment=with_fields(request.commitment, **changes))
    assert commitment_reason(request, recording.keys.per_commitment_point) is reason


@pytest.mark.parametrize(
    "change",
    [
        set_output(-1, script_pubkey=bytes(FOREIGN)),
        set_output(0, value=329),
        lambda tx: replace(tx, outputs=tx.outputs[:-1]),
        lambda tx: replace(tx, outputs=(*tx.outputs, TxOut(1000, bytes(FOREIGN)))),
        lambda tx: replace(tx, outputs=tx.outputs[::-1]),
        lambda tx: replace(tx, locktime=0),
        set_sequence(0xFFFFFFFF),
        set_sequence(0x80000000),
    ],
)
def test_an_altered_commitment_is_refused(change: Callable[[Transaction], Transaction]) -> None:
    recording, request = commitment()
    reason = commitment_reason(changed(request, change), recording.keys.per_commitment_point)
    assert reason is RefusalReason.WRONG_COMMITMENT


def test_a_commitment_at_another_point_than_ours_is_refused() -> None:
    recording, request = commitment()
    points = recording.keys.per_commitment_point
    assert commitment_reason(request, lambda n: points(n + 1)) is RefusalReason.WRONG_COMMITMENT


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"value_sat": Satoshi(1)}, RefusalReason.MALFORMED_REQUEST),
        ({"script_pubkey": FOREIGN}, RefusalReason.WRONG_SCRIPT),
    ],
)
def test_a_commitment_spends_the_funding_output(
    changes: dict[str, object], reason: RefusalReason
) -> None:
    recording, request = commitment()
    request = with_fields(request, inputs=(with_fields(request.inputs[0], **changes),))
    assert commitment_reason(request, recording.keys.per_commitment_point) is reason


def test_a_commitment_of_another_funding_output_is_refused() -> None:
    recording, request = commitment()
    elsewhere = OutPoint.of(Txid(bytes(32)), 0)
    request = with_channel(request, funding_outpoint=elsewhere)
    reason = commitment_reason(request, recording.keys.per_commitment_point)
    assert reason is RefusalReason.MALFORMED_REQUEST


def test_a_peer_with_another_funding_key_gives_another_script() -> None:
    recording, request = commitment()
    channel = request.inputs[0].owner
    remote = with_fields(channel.remote, funding_pubkey=channel.local.htlc_basepoint)
    request = with_channel(request, remote=remote)
    reason = commitment_reason(request, recording.keys.per_commitment_point)
    assert reason is RefusalReason.WRONG_SCRIPT


def test_a_commitment_request_needs_its_commitment() -> None:
    recording, request = commitment()
    request = with_fields(request, commitment=None)
    reason = commitment_reason(request, recording.keys.per_commitment_point)
    assert reason is RefusalReason.MALFORMED_REQUEST
