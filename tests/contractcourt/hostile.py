"""Honest signing requests from LDK's recordings, and ways to spoil them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from msgspec.structs import replace as with_fields

from contractcourt.bitcoin.transaction import Transaction, TxOut
from contractcourt.contract import Contract, ContractKind
from contractcourt.fee_rules import DEFAULT_FEE_POLICY
from contractcourt.signing import (
    RefusalReason,
    SigningInput,
    SigningRefused,
    SigningRequest,
)
from contractcourt.signing_policy import check_request
from contractcourt.sweep_rules import Allowed, check_sweep
from contractcourt.units import (
    HexBytes,
    Script,
)
from tests.workers.ldk_signing import Recording

FOREIGN = Script(bytes.fromhex("0014" + "66" * 20))
NO_DELAY = 0xFFFFFFFD


def sweep_of(name: str, kind: ContractKind, number: int = 0) -> SigningRequest:
    """The first recorded spend of that kind in that recording, or one after it."""
    found = [
        request
        for request, _ in Recording(name).our_spends()
        if (contract := request.inputs[0].contract) is not None and contract.kind is kind
    ]
    return found[number]


def to_local() -> SigningRequest:
    return sweep_of("anchors_2_local_close", ContractKind.TO_LOCAL)


def allowed_by(request: SigningRequest) -> set[Script]:
    return {Script(o.script_pubkey) for o in Transaction.parse(request.tx).outputs}


def with_channel(request: SigningRequest, **changes: object) -> SigningRequest:
    """The request with another channel at its first input."""
    spent = request.inputs[0]
    channel = with_fields(spent.owner, **changes)
    return with_fields(request, inputs=(with_fields(spent, channel=channel), *request.inputs[1:]))


def changed(
    request: SigningRequest, change: Callable[[Transaction], Transaction]
) -> SigningRequest:
    tx = change(Transaction.parse(request.tx))
    return with_fields(request, tx=HexBytes(tx.serialize()))


def with_input(request: SigningRequest, **changes: object) -> SigningRequest:
    """The request with another first input, its contract and all."""
    spent = request.inputs[0]
    assert spent.contract is not None
    of_contract = {k: v for k, v in changes.items() if k in Contract.__struct_fields__}
    of_input = {k: v for k, v in changes.items() if k in SigningInput.__struct_fields__}
    contract = with_fields(spent.contract, **of_contract)
    spent = with_fields(spent, **{"contract": contract, **of_input})
    return with_fields(request, inputs=(spent, *request.inputs[1:]))


def reason_of(request: SigningRequest, allowed: set[Script] | None = None) -> RefusalReason:
    """Why this sweep is refused; its own outputs are allowed unless others are given."""

    def judge() -> None:
        tx = check_request(request)
        scripts = Allowed(allowed or allowed_by(request))
        check_sweep(request, tx, scripts, DEFAULT_FEE_POLICY)

    with pytest.raises(SigningRefused) as caught:
        judge()
    return caught.value.reason


def set_output(
    index: int, *, value: int | None = None, script_pubkey: bytes | None = None
) -> Callable[[Transaction], Transaction]:
    def change(tx: Transaction) -> Transaction:
        outputs = list(tx.outputs)
        old = outputs[index]
        outputs[index] = TxOut(
            old.value if value is None else value,
            old.script_pubkey if script_pubkey is None else script_pubkey,
        )
        return replace(tx, outputs=tuple(outputs))

    return change


def set_sequence(sequence: int) -> Callable[[Transaction], Transaction]:
    return lambda tx: replace(tx, inputs=(replace(tx.inputs[0], sequence=sequence),))
