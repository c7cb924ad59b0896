"""What no channel can have agreed on is refused at the door, by an error of the law."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from contractcourt.channel import STATIC_REMOTEKEY, Direction, RevokedSecret
from contractcourt.errors import CommitmentMismatch
from contractcourt.events import ChannelUpdate
from contractcourt.units import Secret
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.test_bolt5_closes import LARGE_MSAT, begun
from workers.simulation.channel import SimulatedChannel


def _refused(court: MemoryCourt, update: ChannelUpdate) -> None:
    before = court.case
    with pytest.raises(CommitmentMismatch):
        court.tell(update)
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
    _refused(court, ChannelUpdate(**{side: replace(told, htlcs=htlcs)}))


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
