"""What no channel can have agreed on is refused at the door, by an error of the law."""

from __future__ import annotations

from dataclasses import replace as simulated
from typing import Any

import pytest
from msgspec.structs import replace

from contractcourt.channel import STATIC_REMOTEKEY, Direction, RevokedSecret
from contractcourt.errors import (
    CommitmentMismatch,
    InvalidPoint,
    LawError,
    OutOfOrder,
    RevocationSecretMismatch,
)
from contractcourt.events import ChannelUpdate, PreimageLearned
from contractcourt.units import FeeratePerKw, PublicKey, Secret, Txid
from tests.model.world import after_splice
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.test_bolt5_closes import LARGE_MSAT, begun
from workers.simulation.channel import SimulatedChannel


def _refused(
    court: MemoryCourt, *updates: ChannelUpdate, by: type[LawError] = CommitmentMismatch
) -> None:
    before = court.case
    with pytest.raises(by):
        court.tell(*updates)
    assert court.case == before


def _begun() -> tuple[MemoryCourt, SimulatedChannel]:
    return begun("refused updates", STATIC_REMOTEKEY)


@pytest.mark.parametrize("number", [-1, 1 << 48])
def test_a_secret_of_no_commitment_is_refused(number: int) -> None:
    court, _ = _begun()
    _refused(court, ChannelUpdate(revoked_secret=RevokedSecret(number, Secret(b"\x01" * 32))))


@pytest.mark.parametrize(
    "wrong",
    [
        {"cltv_expiry": -5},
        {"cltv_expiry": 0},
        {"cltv_expiry": 1 << 40},
        {"payment_hash": b""},
        {"amount_msat": -1},
    ],
    ids=str,
)
@pytest.mark.parametrize("side", ["remote_commitment", "remote_pending_commitment"])
def test_a_commitment_of_theirs_that_nobody_could_build_is_refused(
    wrong: dict[str, Any], side: str
) -> None:
    """It would be found out at the close, when nothing can be done any more."""
    court, sim = _begun()
    sim.move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 40))
    told = sim.remote_commitment()
    htlcs = tuple(replace(htlc, **wrong) for htlc in told.htlcs)
    _refused(court, replace(ChannelUpdate(), **{side: replace(told, htlcs=htlcs)}))


@pytest.mark.parametrize(
    "wrong",
    [{"number": -1}, {"feerate_per_kw": -1}, {"to_local_msat": -1}, {"to_remote_msat": -1}],
    ids=str,
)
def test_a_commitment_of_theirs_with_a_number_below_zero_is_refused(wrong: dict[str, Any]) -> None:
    court, sim = _begun()
    sim.move(0)
    told = replace(sim.remote_commitment(), **wrong)
    _refused(court, ChannelUpdate(remote_pending_commitment=told))


@pytest.mark.parametrize("wrong", [{"txid": Txid(b"\x07" * 32)}, {"number": 2}], ids=str)
def test_a_commitment_of_ours_that_is_not_the_one_it_is_called_is_refused(
    wrong: dict[str, Any],
) -> None:
    court, sim = _begun()
    sim.move(10_000_000)
    _refused(court, ChannelUpdate(local_commitment=replace(sim.local_commitment(), **wrong)))


def test_another_commitment_with_a_number_that_is_taken_is_refused() -> None:
    """Two that are both the newest: nobody could say which of them is revoked next."""
    court, sim = _begun()
    other = simulated(sim, history=list(sim.history))
    court.tell(*sim.whole_move(10_000_000))
    other.move(20_000_000)
    _refused(court, ChannelUpdate(local_commitment=other.local_commitment()))
    _refused(court, ChannelUpdate(remote_pending_commitment=other.remote_commitment()))


def test_a_secret_that_does_not_fit_its_commitment_is_refused() -> None:
    """A breach that it should punish would go unpunished."""
    court, sim = _begun()
    sim.move(10_000_000)
    court.tell(sim.propose())
    other = RevokedSecret(0, Secret(b"\x01" * 32))
    _refused(court, ChannelUpdate(revoked_secret=other), by=RevocationSecretMismatch)


def test_the_secret_of_the_only_commitment_of_theirs_is_refused() -> None:
    court, sim = _begun()
    sim.move(10_000_000)
    _refused(court, sim.revoke(), by=OutOfOrder)


def test_commitments_of_theirs_without_the_secrets_between_them_are_refused() -> None:
    """Any of those before may be mined: what is not known to be revoked is no breach."""
    court, sim = _begun()
    sim.move(10_000_000)
    second = sim.propose()
    sim.move(10_000_000)
    third = sim.propose()
    _refused(court, second, third, by=OutOfOrder)
    _refused(court, third, by=OutOfOrder)


def test_a_commitment_of_theirs_whose_point_is_none_is_refused() -> None:
    court, sim = _begun()
    sim.move(10_000_000)
    told = replace(sim.remote_commitment(), per_commitment_point=PublicKey(b"\x02" + b"\xff" * 32))
    _refused(court, ChannelUpdate(remote_pending_commitment=told), by=InvalidPoint)


def test_a_preimage_of_something_else_is_refused() -> None:
    court, sim = _begun()
    held = sim.htlc(1, Direction.RECEIVED, LARGE_MSAT, court.height + 40)
    court.tell(*sim.whole_move(0, held))
    before = court.case
    with pytest.raises(LawError):
        court.hear(PreimageLearned(held.payment_hash, sim.preimage(2)))
    assert court.case == before


@pytest.mark.parametrize("spliced", [True, False])
def test_what_was_told_before_our_point_was_known_may_be_told_rightly_once_more(
    spliced: bool,
) -> None:
    """While the signer is away nothing shows that the signatures of the HTLCs are missing."""
    court, sim = _begun()
    sim.move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 40))
    there = sim
    if spliced:
        splice = sim.splice_tx()
        court.tell_splice(splice)
        there = after_splice(sim, splice)
    told = there.local_commitment()
    unsigned = tuple(replace(htlc, remote_signature=None) for htlc in told.htlcs)
    wrong = replace(told, htlcs=unsigned, per_commitment_point=None)
    before = court.case.local_commitment
    court.tell(sim.propose(), sim.revoke(), ChannelUpdate(local_commitment=wrong))
    court.tell(ChannelUpdate(local_commitment=told))
    assert told in court.case.held
    assert wrong not in court.case.held
    assert before in court.case.held
    court.tell(ChannelUpdate(local_commitment=wrong))
    assert told in court.case.held


def test_our_mined_commitment_that_is_told_once_more_with_its_point_is_the_same() -> None:
    court, sim = _begun()
    sim.move(0)
    told = sim.local_commitment()
    unproved = ChannelUpdate(local_commitment=replace(told, per_commitment_point=None))
    court.tell(sim.propose(), sim.revoke(), unproved)
    court.broadcast(sim.our_commitment_tx())
    court.mine()
    court.tell(ChannelUpdate(local_commitment=told))
    assert court.alarms() == set()


def test_a_feerate_that_the_channel_could_never_pay_is_refused() -> None:
    """Every HTLC counted as too small for an output: none had a deadline, or was punished."""
    court, channel = _begun()
    channel.move(0, channel.htlc(1, Direction.OFFERED, LARGE_MSAT, 700))
    proposed = channel.propose()
    told = proposed.remote_pending_commitment
    assert told is not None
    most = (channel.channel.capacity_sat + 1) * 1000 // 724
    for feerate in (FeeratePerKw(most + 1), FeeratePerKw(2**32 - 1)):
        beyond = replace(told, feerate_per_kw=feerate)
        _refused(court, ChannelUpdate(remote_pending_commitment=beyond))
    court.tell(proposed)
