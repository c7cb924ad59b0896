"""Sweeps: fees that are never below the rate asked for, and never most of the money."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import Side
from contractcourt.contract import Contract, ContractKind, ContractStage
from contractcourt.sweep import NotWorthIt, Sweep, build_sweep, dust_threshold, sweep_weight
from contractcourt.units import BlockHeight, Blocks, FeeratePerKw, Satoshi, Script, Txid

_SWEEP_SCRIPT = Script(b"\x00\x14" + bytes(20))
_KINDS = [kind for kind in ContractKind if kind is not ContractKind.UNKNOWN_SPEND]


def _contract(kind: ContractKind, value_sat: int, csv_delay: int = 0) -> Contract:
    return Contract(
        outpoint=OutPoint.of(Txid(bytes(32)), 0),
        kind=kind,
        value_sat=Satoshi(value_sat),
        script_pubkey=Script(b"\x00\x20" + bytes(32)),
        commitment_owner=Side.REMOTE,
        commitment_number=1,
        per_commitment_point=None,
        csv_delay=Blocks(csv_delay),
        stage=ContractStage.IMMATURE,
        confirmed_height=BlockHeight(100),
    )


@given(
    st.sampled_from(_KINDS),
    st.integers(25, 2_500_000),
    st.integers(330, 10**9),
    st.integers(0, 2_016),
)
def test_b9_the_fee_meets_the_rate_from_a_tenth_to_ten_thousand_sat_per_vbyte(
    kind: ContractKind, feerate: int, value_sat: int, csv_delay: int
) -> None:
    contract = _contract(kind, value_sat, csv_delay)
    built = build_sweep([contract], _SWEEP_SCRIPT, FeeratePerKw(feerate))
    virtual_bytes = sweep_weight([contract], _SWEEP_SCRIPT) // 4
    floor_sat = -(-feerate * 4 * virtual_bytes // 1000)
    if isinstance(built, NotWorthIt):
        assert built.fee_sat * 2 > value_sat or value_sat - built.fee_sat < built.dust_sat
        return
    assert isinstance(built, Sweep)
    assert built.fee_sat >= floor_sat
    assert built.fee_sat <= floor_sat + 1
    assert sum(output.value for output in built.tx.outputs) + built.fee_sat == value_sat
    assert built.tx.outputs[0].value >= dust_threshold(_SWEEP_SCRIPT)


def test_the_delay_stands_in_the_sequence_and_a_sweep_without_one_is_replaceable() -> None:
    delayed = build_sweep(
        [_contract(ContractKind.TO_LOCAL, 100_000, 144)], _SWEEP_SCRIPT, FeeratePerKw(253)
    )
    at_once = build_sweep(
        [_contract(ContractKind.REVOKED_TO_LOCAL, 100_000)], _SWEEP_SCRIPT, FeeratePerKw(253)
    )
    assert isinstance(delayed, Sweep)
    assert isinstance(at_once, Sweep)
    assert delayed.tx.inputs[0].sequence == 144
    assert at_once.tx.inputs[0].sequence == 0xFFFFFFFD
