"""What an input is worth: shown by the transaction that made it, or by its own signature."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as with_fields

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.channel import LocalCommitment
from contractcourt.proved_values import check_values, needs_proof
from contractcourt.signing import (
    RefusalReason,
    SigningInput,
    SigningRefused,
    SigningRequest,
    ValueUnproved,
    bump_request,
    sweep_request,
    wallet_input,
)
from contractcourt.units import FeeratePerKw, HexBytes, Millisatoshi, Satoshi, Script, Signature

_SCRIPT = Script(bytes(22))
_OTHER = Script(bytes(23))


def _parent(*values_sat: int) -> Transaction:
    """What made outputs of these values; one of each set of them."""
    return Transaction(
        2, (TxIn(OutPoint(bytes(36))),), tuple(TxOut(v, bytes(_SCRIPT)) for v in values_sat)
    )


FIRST, SECOND = _parent(1_000, 2_000), _parent(3_000)


def _raw(tx: Transaction) -> HexBytes:
    return HexBytes(tx.serialize())


def _output(parent: Transaction, vout: int) -> SigningInput:
    value = Satoshi(parent.outputs[vout].value)
    return wallet_input(OutPoint.of(parent.txid(), vout), value, _SCRIPT, 0)


def _request(*parents: HexBytes, last: SigningInput | None = None) -> SigningRequest:
    inputs = (_output(FIRST, 0), _output(FIRST, 1), last or _output(SECOND, 0))
    return sweep_request("alice", HexBytes(), inputs, parents)


def _reason(request: SigningRequest) -> RefusalReason:
    with pytest.raises(SigningRefused) as caught:
        check_values(request)
    return caught.value.reason


def test_all_but_the_last_are_proved_and_the_last_may_be() -> None:
    check_values(_request(_raw(FIRST)))
    check_values(_request(_raw(FIRST), _raw(SECOND)))
    alone = with_fields(_request(), inputs=_request().inputs[2:])
    check_values(alone)


def test_what_needs_proof_is_all_but_the_last() -> None:
    request = _request()
    assert needs_proof(request) == request.inputs[:2]
    assert needs_proof(with_fields(request, inputs=request.inputs[:1])) == ()


def test_another_one_without_proof_is_refused() -> None:
    request = _request(_raw(FIRST))
    # In its turn each could be the one of which nothing is shown.
    turned = with_fields(request, inputs=request.inputs[::-1])
    for unproved in (_request(_raw(SECOND)), turned):
        with pytest.raises(ValueUnproved):
            check_values(unproved)


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("lie", [{"value_sat": Satoshi(1)}, {"script_pubkey": _OTHER}])
def test_whoever_is_contradicted_is_refused(index: int, lie: dict[str, object]) -> None:
    request = _request(_raw(FIRST), _raw(SECOND))
    inputs = list(request.inputs)
    inputs[index] = with_fields(inputs[index], **lie)
    assert _reason(with_fields(request, inputs=tuple(inputs))) is RefusalReason.WRONG_VALUE


def test_an_output_that_its_transaction_lacks_is_refused() -> None:
    beyond = with_fields(_output(SECOND, 0), outpoint=OutPoint.of(SECOND.txid(), 1))
    request = _request(_raw(FIRST), _raw(SECOND), last=beyond)
    assert _reason(request) is RefusalReason.WRONG_VALUE


def test_another_transaction_proves_nothing() -> None:
    poorer = replace(FIRST, outputs=(replace(FIRST.outputs[0], value=1), FIRST.outputs[1]))
    inputs = (with_fields(_output(FIRST, 0), value_sat=Satoshi(1)), *_request().inputs[1:])
    request = with_fields(_request(_raw(poorer)), inputs=inputs)
    with pytest.raises(ValueUnproved):
        check_values(request)


@pytest.mark.parametrize("raw", [b"", bytes(60), _raw(FIRST) + b"\x00", _raw(FIRST)[:-1]])
def test_what_is_no_transaction_is_refused(raw: bytes) -> None:
    assert _reason(_request(HexBytes(raw))) is RefusalReason.MALFORMED_REQUEST


def test_a_transaction_with_its_witness_is_refused() -> None:
    signed = replace(FIRST, inputs=(replace(FIRST.inputs[0], witness=(b"\x01",)),))
    assert signed.txid() == FIRST.txid()
    assert _reason(_request(_raw(signed))) is RefusalReason.MALFORMED_REQUEST


def test_a_bumps_commitment_is_what_made_its_anchor() -> None:
    commitment = LocalCommitment(
        1,
        SECOND.txid(),
        _raw(SECOND),
        Signature(bytes(64)),
        FeeratePerKw(253),
        Millisatoshi(0),
        Millisatoshi(0),
    )
    inputs = (_output(SECOND, 0), _output(FIRST, 0))
    request = bump_request("alice", HexBytes(), inputs, commitment)
    check_values(request)
    assert needs_proof(request) == ()
    several = with_fields(request, inputs=(*inputs, _output(FIRST, 1)))
    assert needs_proof(several) == inputs[1:]
    with pytest.raises(ValueUnproved):
        check_values(several)
    check_values(with_fields(several, parents=(_raw(FIRST),)))
    lie = with_fields(inputs[0], value_sat=Satoshi(1))
    assert _reason(with_fields(request, inputs=(lie, inputs[1]))) is RefusalReason.WRONG_VALUE
