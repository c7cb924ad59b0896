"""Outputs found by their scripts, where amounts and order mislead."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from contractcourt.bitcoin.transaction import Transaction, TxOut
from contractcourt.bolt3.commitment import BuiltCommitment, OutputKind, build_commitment
from contractcourt.bolt3.recognition import recognise_outputs
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, Channel, Direction, Htlc, Side
from contractcourt.units import BlockHeight, FeeratePerKw, Millisatoshi
from tests.vectors import common_channel, common_htlc, key, secrets

POINT = key(secrets()["local_per_commitment_point"])
CHANNEL = common_channel(ANCHORS_ZERO_FEE_HTLC)


def build(channel: Channel, owner: Side, htlcs: tuple[Htlc, ...]) -> BuiltCommitment:
    return build_commitment(
        channel,
        owner,
        7,
        POINT,
        FeeratePerKw(500),
        Millisatoshi(4_000_000_000),
        Millisatoshi(3_000_000_000),
        htlcs,
    )


def htlc_like(htlc_id: int, amount_sat: int, cltv_expiry: int, direction: Direction) -> Htlc:
    return msgspec.structs.replace(
        common_htlc(5),
        id=htlc_id,
        amount_msat=Millisatoshi(amount_sat * 1000 + htlc_id),
        cltv_expiry=BlockHeight(cltv_expiry),
        direction=direction,
    )


HTLCS = st.lists(
    st.tuples(st.integers(300, 800), st.integers(500, 503), st.sampled_from(list(Direction))),
    max_size=8,
).map(lambda told: tuple(htlc_like(n, *facts) for n, facts in enumerate(told)))


@given(htlcs=HTLCS, owner=st.sampled_from(list(Side)), anchors=st.booleans())
def test_what_was_built_is_recognised(htlcs: tuple[Htlc, ...], owner: Side, anchors: bool) -> None:
    """With one payment hash in all of them: amounts and expiries alone tell them apart."""
    channel = CHANNEL if anchors else common_channel()
    built = build(channel, owner, htlcs)
    assert recognise_outputs(channel, owner, POINT, built.tx, htlcs) == built.outputs


def test_without_a_point_only_static_outputs_are_found() -> None:
    built = build(CHANNEL, Side.REMOTE, (common_htlc(4),))
    found = recognise_outputs(CHANNEL, Side.REMOTE, None, built.tx, (common_htlc(4),))
    assert {output.kind for output in found} == {
        OutputKind.TO_REMOTE,
        OutputKind.ANCHOR_LOCAL,
        OutputKind.ANCHOR_REMOTE,
    }
    assert all(built.outputs[output.index] == output for output in found)


def test_the_other_sides_commitment_shares_only_the_anchors() -> None:
    built = build(CHANNEL, Side.REMOTE, (common_htlc(4),))
    found = recognise_outputs(CHANNEL, Side.LOCAL, POINT, built.tx, (common_htlc(4),))
    assert {output.kind for output in found} == {
        OutputKind.ANCHOR_LOCAL,
        OutputKind.ANCHOR_REMOTE,
    }


def test_an_unexpected_amount_is_still_found_and_taken_as_it_is() -> None:
    htlcs = (
        htlc_like(0, 1_000, 500, Direction.OFFERED),
        htlc_like(1, 2_000, 501, Direction.OFFERED),
    )
    built = build(CHANNEL, Side.LOCAL, htlcs)
    shifted = [TxOut(999, o.script_pubkey) if o.value == 1_000 else o for o in built.tx.outputs]
    tx = replace(built.tx, outputs=tuple(reversed(shifted)))
    found = recognise_outputs(CHANNEL, Side.LOCAL, POINT, tx, htlcs)
    by_id = {output.htlc.id: output.value_sat for output in found if output.htlc is not None}
    assert by_id == {0: 999, 1: 2_000}


def test_an_output_more_than_there_are_htlcs_stays_unknown() -> None:
    htlc = htlc_like(0, 1_000, 500, Direction.OFFERED)
    built = build(CHANNEL, Side.LOCAL, (htlc, msgspec.structs.replace(htlc, id=1)))
    found = recognise_outputs(CHANNEL, Side.LOCAL, POINT, built.tx, (htlc,))
    assert sum(output.htlc is not None for output in found) == 1
    assert len(found) == len(built.tx.outputs) - 1


def test_a_foreign_transaction_has_none_of_our_outputs() -> None:
    built = build(CHANNEL, Side.LOCAL, ())
    foreign = Transaction(2, built.tx.inputs, (TxOut(1_000, b"\x00\x14" + bytes(20)),))
    assert recognise_outputs(CHANNEL, Side.LOCAL, POINT, foreign) == ()
