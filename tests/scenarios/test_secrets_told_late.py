"""Secrets of commitments that the court was never told: of a channel that was in use before."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from contractcourt.channel import Direction, RevokedSecret
from contractcourt.contract import ContractKind
from contractcourt.errors import (
    CommitmentNumberRegression,
    LawError,
    OutOfOrder,
    RevocationSecretMismatch,
)
from contractcourt.events import ChannelUpdate
from contractcourt.units import Secret
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.others import taken
from tests.scenarios.test_bolt5_closes import BOTH_TYPES, LARGE_MSAT, begun
from workers.simulation.channel import SimulatedChannel
from workers.simulation.peer import Peer

_MOVES = 6
_CHEAT = 2


@dataclass(slots=True)
class _InUse(SimulatedChannel):
    """The court hears of its newest state first."""

    def first_update(self) -> ChannelUpdate:
        return ChannelUpdate(
            local_commitment=self.local_commitment(), remote_commitment=self.remote_commitment()
        )


def _secret(sim: SimulatedChannel, number: int) -> ChannelUpdate:
    return ChannelUpdate(revoked_secret=RevokedSecret(number, sim.theirs.revoke(number)))


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
    numbers = range(_MOVES)
    court.tell(*(_secret(sim, n) for n in (reversed(numbers) if newest_first else numbers)))
    court.tell(*sim.whole_move(20_000_000))
    court.broadcast(sim.their_commitment_tx(_CHEAT))
    court.mine(12)
    assert court.close_kind == "breach"
    assert court.alarms() == {"breach"}
    assert court.contract_stages["revoked_to_local"] == "resolved"


@BOTH_TYPES
def test_a_secret_that_comes_after_the_breach_punishes_it(channel_type: str) -> None:
    """What the alarm asks the node for."""
    court, sim = _begun(channel_type)
    court.broadcast(sim.their_commitment_tx(_CHEAT))
    court.mine(2)
    assert "breach_unpunished" in court.alarms()
    court.tell(_secret(sim, _CHEAT))
    court.mine(12)
    assert court.contract_stages["revoked_to_local"] == "resolved"
    assert court.state == "FULLY_RESOLVED"
    assert len(court.told("channel.closed")) == 1


@BOTH_TYPES
def test_what_was_taken_before_the_secret_came_stays_taken(channel_type: str) -> None:
    court, sim = _begun(channel_type)
    court.reorg(0, [sim.their_commitment_tx(_CHEAT)])
    revoked = [c for c in court.case.contracts if c.kind is ContractKind.REVOKED_HTLC]
    unread = max(revoked, key=lambda c: c.value_sat)
    thief = taken(unread.outpoint)
    court.reorg(0, [thief])
    court.tell(_secret(sim, _CHEAT))
    [lost] = [c for c in court.case.contracts if c.outpoint == unread.outpoint]
    assert lost.spend is not None
    assert lost.spend.txid == thief.txid()
    court.mine(12)
    assert court.state == "FULLY_RESOLVED"


@BOTH_TYPES
@pytest.mark.parametrize("buried", [False, True])
def test_l16_what_the_cheater_moved_before_the_secret_came_is_punished_where_it_is(
    channel_type: str, buried: bool
) -> None:
    court = MemoryCourt(restarts=True)
    sim = _InUse("moved before the secret", channel_type)
    held = sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 200)
    for _ in range(_MOVES):
        sim.move(20_000_000, held)
    court.begin(sim)
    theft = Peer(sim).second_level(_CHEAT, 1, sim.preimage(1))
    court.reorg(0, [sim.their_commitment_tx(_CHEAT), theft])
    if buried:
        court.mine(12)
    court.tell(_secret(sim, _CHEAT))
    court.mine(12)
    assert court.contract_stages["revoked_second_level"] == "resolved"
    assert [c.ours for c in court.case.contracts if c.outpoint.txid == theft.txid()] == [True]
    assert court.state == "FULLY_RESOLVED"


def test_a_secret_that_does_not_fit_the_others_is_refused() -> None:
    court, sim = _begun("static_remotekey")
    court.tell(_secret(sim, 3))
    for number, secret in ((3, b"\x01" * 32), (2, b"\x01" * 32), (4, bytes(32))):
        wrong = ChannelUpdate(revoked_secret=RevokedSecret(number, Secret(secret)))
        with pytest.raises(LawError):
            court.tell(wrong)
    with pytest.raises(RevocationSecretMismatch):
        court.tell(ChannelUpdate(revoked_secret=RevokedSecret(3, Secret(b"\x01" * 32))))


def _restored(channel_type: str) -> tuple[MemoryCourt, SimulatedChannel, list[ChannelUpdate]]:
    """A court that comes back from an old backup, and what its node sends that keeps no queue."""
    court, sim = begun("restored", channel_type)
    for _ in range(_MOVES):
        sim.move(20_000_000)
    newest = ChannelUpdate(
        local_commitment=sim.local_commitment(), remote_commitment=sim.remote_commitment()
    )
    return court, sim, [newest, *(_secret(sim, number) for number in range(_MOVES))]


@BOTH_TYPES
@pytest.mark.parametrize("pending", [True, False])
@pytest.mark.parametrize("cheat", [0, _CHEAT])
def test_a_court_of_an_old_backup_is_brought_up_to_date_by_the_present_state(
    channel_type: str, pending: bool, cheat: int
) -> None:
    """It took a commitment for valid that was revoked since."""
    court, sim, told = _restored(channel_type)
    if pending:
        court.tell(ChannelUpdate(remote_pending_commitment=sim.remote_commitment(1)))
    court.tell(*told)
    court.tell(*told)
    court.tell(*sim.whole_move(20_000_000))
    court.broadcast(sim.their_commitment_tx(cheat))
    court.mine(12)
    assert court.close_kind == "breach"
    assert court.alarms() == {"breach"}
    assert court.contract_stages["revoked_to_local"] == "resolved"


@pytest.mark.parametrize("left_out", [0, 3, 5])
def test_a_state_without_every_secret_since_is_refused(left_out: int) -> None:
    """Unless a later one gives it. The first shows that all belong to the commitment we hold."""
    court, sim, told = _restored("static_remotekey")
    before = court.case
    with pytest.raises(OutOfOrder):
        court.tell(*(step for step in told if step != _secret(sim, left_out)))
    assert court.case == before


def test_the_few_secrets_that_give_all_others_suffice() -> None:
    court, sim, told = _restored("static_remotekey")
    court.tell(*(step for step in told if step not in [_secret(sim, n) for n in (1, 2, 4)]))
    assert [theirs.number for theirs in court.case.remote_commitments] == [_MOVES]


def test_an_older_commitment_after_the_newest_is_refused() -> None:
    court, sim, told = _restored("static_remotekey")
    older = ChannelUpdate(remote_commitment=sim.remote_commitment(_CHEAT))
    with pytest.raises(CommitmentNumberRegression):
        court.tell(told[0], older, *told[1:])


def test_a_number_far_away_is_refused_at_once() -> None:
    court, sim, told = _restored("static_remotekey")
    far = replace(sim.remote_commitment(), number=1 << 47)
    with pytest.raises(OutOfOrder):
        court.tell(ChannelUpdate(remote_commitment=far), *told[1:])
