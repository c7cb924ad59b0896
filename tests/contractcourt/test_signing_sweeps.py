"""Hostile sweeps: each rule of the signer, met and broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from msgspec.structs import replace as with_fields

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.channel import Side
from contractcourt.codec import decode, encode
from contractcourt.contract import ContractKind
from contractcourt.errors import InvalidPoint
from contractcourt.fee_rules import (
    DEFAULT_FEE_POLICY,
    FeePolicy,
    check_feerate,
    held_for_us,
    sweep_fee,
)
from contractcourt.signing import (
    RefusalReason,
    SigningRefused,
    SigningRequest,
)
from contractcourt.signing_policy import check_request
from contractcourt.sweep_rules import Allowed, check_sweep
from contractcourt.units import (
    BlockHeight,
    HexBytes,
    Millisatoshi,
    PublicKey,
    Satoshi,
    Secret,
)
from tests.contractcourt.hostile import (
    FOREIGN,
    NO_DELAY,
    allowed_by,
    changed,
    reason_of,
    set_output,
    set_sequence,
    sweep_of,
    to_local,
    with_channel,
    with_input,
)
from tests.workers.ldk_signing import NAMES, Recording

# -- the request itself --


@pytest.mark.parametrize("name", NAMES)
def test_a_request_survives_its_journey(name: str) -> None:
    recording = Recording(name)
    requests = [request for request, _ in recording.our_spends()]
    requests += [recording.commitment_request(c) for c, _ in recording.local_commitments()]
    for request in requests:
        assert decode(encode(request), SigningRequest) == request


@pytest.mark.parametrize(
    "change",
    [
        lambda tx: replace(tx, version=1),
        lambda tx: replace(tx, outputs=()),
        lambda tx: replace(tx, inputs=(replace(tx.inputs[0], witness=(b"\x01",)),)),
        lambda tx: replace(tx, inputs=(replace(tx.inputs[0], script_sig=b"\x51"),)),
        lambda tx: replace(tx, inputs=(*tx.inputs, TxIn(OutPoint(bytes(36))))),
        lambda tx: replace(tx, inputs=(*tx.inputs, *tx.inputs)),
        lambda tx: replace(tx, inputs=(replace(tx.inputs[0], outpoint=OutPoint(bytes(36))),)),
        set_output(0, value=21_000_000 * 100_000_000 + 1),
    ],
)
def test_a_request_that_contradicts_itself_is_malformed(
    change: Callable[[Transaction], Transaction],
) -> None:
    assert reason_of(changed(to_local(), change)) is RefusalReason.MALFORMED_REQUEST


@pytest.mark.parametrize("raw", [b"", b"\x00", b"\x02\x00\x00\x00\x00\x01" + b"\xff" * 20])
def test_bytes_that_are_no_transaction_are_malformed(raw: bytes) -> None:
    request = with_fields(to_local(), tx=HexBytes(raw))
    with pytest.raises(SigningRefused) as caught:
        check_request(request)
    assert caught.value.reason is RefusalReason.MALFORMED_REQUEST


def test_the_same_input_twice_is_malformed() -> None:
    request = changed(to_local(), lambda tx: replace(tx, inputs=tx.inputs * 2))
    doubled = with_fields(request, inputs=request.inputs * 2)
    assert reason_of(doubled) is RefusalReason.MALFORMED_REQUEST


def test_an_unknown_channel_type_is_never_signed() -> None:
    request = with_channel(to_local(), channel_type="simple_taproot")
    assert reason_of(request) is RefusalReason.UNSUPPORTED_CHANNEL_TYPE


def test_a_peer_without_points_is_refused() -> None:
    remote = to_local().inputs[0].owner.remote
    remote = with_fields(remote, htlc_basepoint=PublicKey(b"\x02" + b"\xff" * 32))
    request = with_channel(to_local(), remote=remote)
    with pytest.raises(InvalidPoint):
        check_request(request)


# -- where the money goes --


def test_an_output_that_nobody_allowed_is_foreign() -> None:
    request = changed(to_local(), set_output(0, script_pubkey=bytes(FOREIGN)))
    assert reason_of(request, allowed_by(to_local())) is RefusalReason.FOREIGN_OUTPUT


def test_a_foreign_output_beside_an_allowed_one_is_foreign() -> None:
    def split(tx: Transaction) -> Transaction:
        half = tx.outputs[0].value // 2
        first = replace(tx.outputs[0], value=half)
        return replace(tx, outputs=(first, TxOut(half, bytes(FOREIGN))))

    request = changed(to_local(), split)
    assert reason_of(request, allowed_by(to_local())) is RefusalReason.FOREIGN_OUTPUT


def test_the_sweep_script_that_a_request_claims_allows_nothing() -> None:
    request = changed(to_local(), set_output(0, script_pubkey=bytes(FOREIGN)))
    request = with_channel(request, sweep_script=FOREIGN)
    assert reason_of(request, allowed_by(to_local())) is RefusalReason.FOREIGN_OUTPUT


def test_what_is_swept_does_not_go_to_the_fee_wallet() -> None:
    request = changed(to_local(), set_output(0, script_pubkey=bytes(FOREIGN)))
    allowed = Allowed(allowed_by(to_local()), {0: FOREIGN})
    with pytest.raises(SigningRefused) as caught:
        check_sweep(request, check_request(request), allowed, DEFAULT_FEE_POLICY)
    assert caught.value.reason is RefusalReason.FOREIGN_OUTPUT


def test_a_fee_of_more_than_half_is_unreasonable() -> None:
    value = to_local().inputs[0].value_sat
    assert check_sweep(
        changed(to_local(), set_output(0, value=value - value // 2)),
        Transaction.parse(changed(to_local(), set_output(0, value=value - value // 2)).tx),
        Allowed(allowed_by(to_local())),
        DEFAULT_FEE_POLICY,
    )
    request = changed(to_local(), set_output(0, value=value // 2 - 1))
    assert reason_of(request) is RefusalReason.UNREASONABLE_FEE


def test_outputs_worth_more_than_the_inputs_are_unreasonable() -> None:
    value = to_local().inputs[0].value_sat
    request = changed(to_local(), set_output(0, value=value + 1))
    assert reason_of(request) is RefusalReason.UNREASONABLE_FEE


def test_a_feerate_beyond_policy_is_unreasonable() -> None:
    request = to_local()
    tx = Transaction.parse(request.tx)
    check_feerate(request, tx, FeePolicy(max_feerate_sat_vb=2_500))
    with pytest.raises(SigningRefused) as caught:
        check_feerate(request, tx, FeePolicy(max_feerate_sat_vb=0))
    assert caught.value.reason is RefusalReason.UNREASONABLE_FEE


def test_what_somebody_else_can_take_may_cost_all_of_it() -> None:
    request = sweep_of("static_5_remote_close_htlcs", ContractKind.RECEIVED_HTLC)
    nearly_all = changed(request, set_output(0, value=1_000))
    tx, scripts = check_request(nearly_all), Allowed(allowed_by(request))
    assert check_sweep(nearly_all, tx, scripts, DEFAULT_FEE_POLICY)


def test_a_sweep_that_names_a_commitment_pays_no_more_for_it() -> None:
    """What a bump may pay is judged by the commitment, and only a bump's is proved."""
    (commitment, _), *_ = Recording("anchors_2_local_close").local_commitments()
    rich = with_fields(commitment, to_local_msat=Millisatoshi(10**12))
    value = to_local().inputs[0].value_sat
    request = with_fields(changed(to_local(), set_output(0, value=value // 2 - 1)), commitment=rich)
    assert held_for_us(rich) // 2 > value // 2 + 1
    assert reason_of(request) is RefusalReason.UNREASONABLE_FEE
    tx = check_request(request)
    feerate = sweep_fee(request.inputs, tx) // tx.vsize()
    with pytest.raises(SigningRefused):
        check_feerate(request, tx, FeePolicy(max_feerate_sat_vb=feerate - 1))


def test_a_commitment_holds_our_balance_and_every_htlc_as_far_as_it_has_them() -> None:
    """HTLCs that are too small for an output are in no transaction that anybody signed."""
    *_, (commitment, _) = Recording("static_4_local_close_htlcs").local_commitments()
    there = sum(output.value for output in Transaction.parse(commitment.tx).outputs)
    in_flight = sum(htlc.amount_msat for htlc in commitment.htlcs)
    assert in_flight > 0
    poor = with_fields(commitment, to_local_msat=Millisatoshi(5_000))
    assert held_for_us(poor) == 5 + in_flight // 1000 < there
    made_up = with_fields(commitment.htlcs[0], amount_msat=Millisatoshi(10**12))
    assert held_for_us(with_fields(poor, htlcs=(*commitment.htlcs, made_up))) == there


# -- what is spent, and when --


@pytest.mark.parametrize("sequence", [0, 1, NO_DELAY, 0xFFFFFFFF])
def test_to_local_waits_for_exactly_its_delay(sequence: int) -> None:
    request = changed(to_local(), set_sequence(sequence))
    assert reason_of(request) is RefusalReason.WRONG_TIMELOCK
    delay = to_local().inputs[0].owner.remote.to_self_delay
    for wrong in (delay - 1, delay + 1, delay | 1 << 22):
        assert reason_of(changed(to_local(), set_sequence(wrong))) is RefusalReason.WRONG_TIMELOCK


def test_an_anchored_to_remote_waits_one_block() -> None:
    request = sweep_of("anchors_3_remote_close", ContractKind.TO_REMOTE)
    assert reason_of(changed(request, set_sequence(0))) is RefusalReason.WRONG_TIMELOCK


def test_a_timeout_claim_waits_for_its_expiry() -> None:
    request = sweep_of("static_5_remote_close_htlcs", ContractKind.OFFERED_HTLC)
    early = changed(request, lambda tx: replace(tx, locktime=tx.locktime - 1))
    assert reason_of(early) is RefusalReason.WRONG_TIMELOCK
    final = changed(request, set_sequence(0xFFFFFFFF))
    assert reason_of(final) is RefusalReason.WRONG_TIMELOCK


def test_a_locktime_that_is_a_time_is_refused() -> None:
    request = changed(to_local(), lambda tx: replace(tx, locktime=500_000_000))
    assert reason_of(request) is RefusalReason.WRONG_TIMELOCK


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"script_pubkey": FOREIGN}, RefusalReason.WRONG_SCRIPT),
        ({"commitment_owner": Side.REMOTE}, RefusalReason.WRONG_CONTRACT),
        ({"kind": ContractKind.UNKNOWN_SPEND}, RefusalReason.WRONG_CONTRACT),
        ({"kind": ContractKind.ANCHOR}, RefusalReason.WRONG_SCRIPT),
        ({"kind": ContractKind.OFFERED_HTLC}, RefusalReason.MALFORMED_REQUEST),
        ({"per_commitment_point": None}, RefusalReason.MALFORMED_REQUEST),
        ({"contract": None}, RefusalReason.WRONG_CONTRACT),
        ({"value_sat": Satoshi(-1)}, RefusalReason.MALFORMED_REQUEST),
    ],
)
def test_an_output_that_is_not_its_contract_is_refused(
    changes: dict[str, object], reason: RefusalReason
) -> None:
    assert reason_of(with_input(to_local(), **changes)) is reason


def test_the_point_of_another_commitment_gives_another_script() -> None:
    point = Recording("anchors_2_local_close").keys.per_commitment_point(0)
    request = with_input(to_local(), per_commitment_point=point)
    assert reason_of(request) is RefusalReason.WRONG_SCRIPT


def test_a_contract_of_another_output_is_refused() -> None:
    request = to_local()
    spent = with_fields(request.inputs[0], value_sat=Satoshi(1))
    assert reason_of(with_fields(request, inputs=(spent,))) is RefusalReason.MALFORMED_REQUEST


def test_the_funding_output_is_no_sweep() -> None:
    recording = Recording("static_2_local_close")
    commitment, _ = recording.local_commitments()[-1]
    request = recording.commitment_request(commitment)
    assert reason_of(request) is RefusalReason.MALFORMED_REQUEST


# -- secrets that a claim needs --


@pytest.mark.parametrize("preimage", [None, Secret(bytes(32)), Secret(b""), Secret(bytes(33))])
def test_a_preimage_claim_needs_its_preimage(preimage: Secret | None) -> None:
    request = sweep_of("static_5_remote_close_htlcs", ContractKind.RECEIVED_HTLC)
    assert reason_of(with_input(request, preimage=preimage)) is RefusalReason.WRONG_SECRET


@pytest.mark.parametrize("secret", [None, Secret(b"\x01" * 32), Secret(b"\x01")])
def test_a_penalty_needs_the_secret_that_revokes(secret: Secret | None) -> None:
    request = sweep_of("static_7a_breach_no_htlc", ContractKind.REVOKED_TO_LOCAL)
    changed_request = with_input(request, per_commitment_secret=secret)
    assert reason_of(changed_request) is RefusalReason.WRONG_SECRET


# -- the second level --


def second_level() -> SigningRequest:
    return sweep_of("static_4_local_close_htlcs", ContractKind.OFFERED_HTLC)


def test_a_second_level_pays_the_delayed_output_and_nothing_else() -> None:
    request = changed(second_level(), set_output(0, script_pubkey=bytes(FOREIGN)))
    assert reason_of(request, {FOREIGN}) is RefusalReason.FOREIGN_OUTPUT


def test_a_second_level_output_may_not_be_swept_to_by_another_contract() -> None:
    delayed = Transaction.parse(second_level().tx).outputs[0].script_pubkey
    request = changed(to_local(), set_output(0, script_pubkey=delayed))
    assert reason_of(request, allowed_by(to_local())) is RefusalReason.FOREIGN_OUTPUT


def test_a_second_level_with_another_value_lacks_the_peers_signature() -> None:
    request = changed(second_level(), lambda tx: set_output(0, value=tx.outputs[0].value - 1)(tx))
    assert reason_of(request) is RefusalReason.BAD_REMOTE_SIGNATURE


def test_a_second_level_without_the_peers_signature_is_refused() -> None:
    contract = second_level().inputs[0].contract
    assert contract is not None
    assert contract.htlc is not None
    unsigned = with_fields(contract.htlc, remote_signature=None)
    request = with_input(second_level(), htlc=unsigned)
    assert reason_of(request) is RefusalReason.BAD_REMOTE_SIGNATURE


def test_an_expiry_that_no_script_can_hold_is_refused() -> None:
    request = sweep_of("static_5_remote_close_htlcs", ContractKind.OFFERED_HTLC)
    contract = request.inputs[0].contract
    assert contract is not None
    assert contract.htlc is not None
    htlc = with_fields(contract.htlc, cltv_expiry=BlockHeight(-5))
    assert reason_of(with_input(request, htlc=htlc)) is RefusalReason.MALFORMED_REQUEST
