"""Rules of the commitment that the vectors leave out, and numbers that no commitment has."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from contractcourt.bolt3.commitment import BuiltCommitment, OutputKind, build_commitment, is_trimmed
from contractcourt.bolt3.htlc import build_second_level
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, Channel, Htlc, Side
from contractcourt.errors import CommitmentMismatch, InvalidPoint, LawError
from contractcourt.units import BlockHeight, FeeratePerKw, Millisatoshi, PaymentHash, Satoshi
from tests.vectors import common_channel, common_htlc, key, secrets, vectors

POINT = key(secrets()["local_per_commitment_point"])


def build(channel: Channel | None = None, **changed: Any) -> BuiltCommitment:
    facts: dict[str, Any] = {
        "owner": Side.LOCAL,
        "number": 1,
        "per_commitment_point": POINT,
        "feerate_per_kw": FeeratePerKw(1000),
        "to_local_msat": Millisatoshi(6_000_000_000),
        "to_remote_msat": Millisatoshi(3_000_000_000),
        "htlcs": (common_htlc(4),),
    }
    return build_commitment(channel or common_channel(), **{**facts, **changed})


def with_dust_limits(channel: Channel, local: int, remote: int) -> Channel:
    return msgspec.structs.replace(
        channel,
        local=msgspec.structs.replace(channel.local, dust_limit_sat=Satoshi(local)),
        remote=msgspec.structs.replace(channel.remote, dust_limit_sat=Satoshi(remote)),
    )


def test_the_fee_example_of_bolt_3() -> None:
    told = vectors()["fee_calculation_example"]
    offered = [(amount, 4) for amount in told["offered_htlcs_msat"]]
    received = [(amount, 0) for amount in told["received_htlcs_msat"]]
    htlcs = tuple(
        msgspec.structs.replace(common_htlc(like), id=n, amount_msat=amount)
        for n, (amount, like) in enumerate(offered + received)
    )
    channel = common_channel(dust_limit_sat=told["dust_limit_satoshis"])
    to_remote = 1_000_000_000
    to_local = channel.capacity_sat * 1000 - to_remote - sum(h.amount_msat for h in htlcs)
    built = build(
        channel,
        feerate_per_kw=FeeratePerKw(told["feerate_per_kw"]),
        to_local_msat=Millisatoshi(to_local),
        to_remote_msat=Millisatoshi(to_remote),
        htlcs=htlcs,
    )
    fee = channel.capacity_sat - sum(output.value for output in built.tx.outputs)
    assert fee == told["expected"]["actual_fee_sat_with_trimmed_htlcs"]


def test_the_owners_dust_limit_decides() -> None:
    """T1: one HTLC stands on one side's commitment and is trimmed from the other's."""
    channel = with_dust_limits(common_channel(ANCHORS_ZERO_FEE_HTLC), 546, 5_000)
    htlc = common_htlc(0)
    assert not is_trimmed(channel, Side.LOCAL, FeeratePerKw(253), htlc)
    assert is_trimmed(channel, Side.REMOTE, FeeratePerKw(253), htlc)


def test_the_opener_pays_whoever_owns_the_commitment() -> None:
    """T4, seen from the accepter's side too."""
    for opener in Side:
        channel = msgspec.structs.replace(common_channel(ANCHORS_ZERO_FEE_HTLC), opener=opener)
        for owner in Side:
            built = build(channel, owner=owner, htlcs=())
            cost = 1124 + 2 * 330
            theirs, ours = 3_000_000, 6_000_000
            values = {output.kind: output.value_sat for output in built.outputs}
            own, other = (ours, theirs) if owner is Side.LOCAL else (theirs, ours)
            assert values[OutputKind.TO_LOCAL] == own - (cost if opener is owner else 0)
            assert values[OutputKind.TO_REMOTE] == other - (cost if opener is not owner else 0)


def test_the_delay_on_an_output_is_what_the_other_side_announced() -> None:
    channel = common_channel()
    for owner in Side:
        built = build(channel, owner=owner, htlcs=())
        script = next(o.witness_script for o in built.outputs if o.kind is OutputKind.TO_LOCAL)
        assert script is not None
        delay = channel.side(owner.other).to_self_delay
        assert script.hex().count(delay.to_bytes(2, "little").hex()) == 1


def test_anchors_stand_for_a_main_output_or_any_htlc() -> None:
    """T5: without either, a side has no anchor."""
    channel = common_channel(ANCHORS_ZERO_FEE_HTLC)
    nothing = Millisatoshi(0)
    alone = build(channel, to_remote_msat=nothing, htlcs=())
    assert OutputKind.ANCHOR_REMOTE not in {output.kind for output in alone.outputs}
    with_htlc = build(channel, to_remote_msat=nothing)
    assert OutputKind.ANCHOR_REMOTE in {output.kind for output in with_htlc.outputs}


def changed_htlc(**changed: Any) -> tuple[Htlc, ...]:
    return (msgspec.structs.replace(common_htlc(0), **changed),)


@pytest.mark.parametrize(
    "changed",
    [
        {"number": -1},
        {"number": 1 << 48},
        {"feerate_per_kw": FeeratePerKw(-1)},
        {"to_local_msat": Millisatoshi(-1)},
        {"to_remote_msat": Millisatoshi(-5_000_000_000)},
        {"to_local_msat": Millisatoshi(10_000_000_001)},
        {"htlcs": changed_htlc(amount_msat=Millisatoshi(0))},
        {"htlcs": changed_htlc(amount_msat=Millisatoshi(1 << 80))},
        {"htlcs": changed_htlc(payment_hash=PaymentHash(b"short"))},
        {"htlcs": changed_htlc(cltv_expiry=BlockHeight(500_000_000))},
        {"htlcs": changed_htlc(cltv_expiry=BlockHeight(-1))},
    ],
)
def test_numbers_that_no_commitment_has(changed: dict[str, Any]) -> None:
    with pytest.raises(CommitmentMismatch):
        build(**changed)


def test_a_point_that_is_none() -> None:
    with pytest.raises(InvalidPoint):
        build(per_commitment_point=b"\x02" + b"\xff" * 32)


def test_only_an_htlc_has_a_second_level() -> None:
    built = build()
    main = next(output for output in built.outputs if output.htlc is None)
    with pytest.raises(LawError, match="only an HTLC"):
        build_second_level(common_channel(), built.keys, built.tx.txid(), main, FeeratePerKw(1000))


def test_a_second_level_never_pays_more_than_it_has() -> None:
    built = build()
    output = next(output for output in built.outputs if output.htlc is not None)
    with pytest.raises(LawError, match="cannot pay"):
        build_second_level(
            common_channel(), built.keys, built.tx.txid(), output, FeeratePerKw(10_000_000)
        )
