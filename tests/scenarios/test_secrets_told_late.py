"""Secrets of commitments that the court was never told: of a channel that was in use before."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from contractcourt.channel import RevokedSecret
from contractcourt.errors import LawError, RevocationSecretMismatch
from contractcourt.events import ChannelUpdate
from contractcourt.units import Secret
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.test_bolt5_closes import BOTH_TYPES
from workers.simulation.channel import SimulatedChannel

_MOVES = 6
_CHEAT = 2


@dataclass(slots=True)
class _InUse(SimulatedChannel):
    """The court hears of its newest state first."""

    def first_update(self) -> ChannelUpdate:
        return ChannelUpdate(
            local_commitment=self.local_commitment(), remote_commitment=self.remote_commitment()
        )

    def secret(self, number: int) -> ChannelUpdate:
        return ChannelUpdate(revoked_secret=RevokedSecret(number, self.theirs.revoke(number)))


def _begun(channel_type: str) -> tuple[MemoryCourt, _InUse]:
    court = MemoryCourt(restarts=True)
    sim = _InUse("in use before", channel_type)
    for _ in range(_MOVES):
        sim.move(20_000_000)
    court.begin(sim)
    return court, sim


@BOTH_TYPES
@pytest.mark.parametrize("newest_first", [True, False])
def test_a_breach_of_before_the_court_knew_the_channel_is_punished(
    channel_type: str, newest_first: bool
) -> None:
    court, sim = _begun(channel_type)
    court.tell(*sorted(map(sim.secret, range(_MOVES)), key=_number, reverse=newest_first))
    court.tell(*sim.whole_move(20_000_000))
    court.broadcast(sim.their_commitment_tx(_CHEAT))
    court.mine(12)
    assert court.close_kind == "breach"
    assert court.alarms() == {"breach"}
    assert court.contract_stages["revoked_to_local"] == "resolved"


def _number(update: ChannelUpdate) -> int:
    assert update.revoked_secret is not None
    return update.revoked_secret.number


@BOTH_TYPES
def test_a_secret_that_comes_after_the_breach_punishes_it(channel_type: str) -> None:
    """What the alarm asks the node for."""
    court, sim = _begun(channel_type)
    court.broadcast(sim.their_commitment_tx(_CHEAT))
    court.mine(2)
    assert "breach_unpunished" in court.alarms()
    court.tell(sim.secret(_CHEAT))
    court.mine(12)
    assert court.contract_stages["revoked_to_local"] == "resolved"
    assert court.state == "FULLY_RESOLVED"
    assert len(court.told("channel.closed")) == 1


def test_a_secret_that_does_not_fit_the_others_is_refused() -> None:
    court, sim = _begun("static_remotekey")
    court.tell(sim.secret(3))
    for number, secret in ((3, b"\x01" * 32), (2, b"\x01" * 32), (4, bytes(32))):
        wrong = ChannelUpdate(revoked_secret=RevokedSecret(number, Secret(secret)))
        with pytest.raises(LawError):
            court.tell(wrong)
    with pytest.raises(RevocationSecretMismatch):
        court.tell(ChannelUpdate(revoked_secret=RevokedSecret(3, Secret(b"\x01" * 32))))
