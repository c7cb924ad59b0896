"""Rows of docs/users_ask.md that the law alone answers, told as stories in memory."""

from __future__ import annotations

import msgspec
import pytest

from contractcourt.advance import advance, open_case
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import STATIC_REMOTEKEY, Direction
from contractcourt.effects import (
    BumpCommitment,
    CloseKind,
    PublishCommitment,
    RaiseAlarm,
    SharePreimage,
    WatchOutpoint,
)
from contractcourt.errors import UnsupportedChannelType
from contractcourt.events import ChannelOpened, ChannelUpdate, ChannelUpdated
from contractcourt.units import Txid
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.others import taken
from tests.scenarios.test_bolt5_closes import BOTH_TYPES, begun, hold
from tests.spent import spent
from workers.simulation.channel import SimulatedChannel
from workers.simulation.peer import Peer


@BOTH_TYPES
def test_l19_data_loss_never_signs_and_still_takes_our_main_output(channel_type: str) -> None:
    court = MemoryCourt(restarts=True)
    sim = SimulatedChannel("data loss", channel_type)
    court.begin(sim)
    court.broadcast(sim.their_commitment_tx(5))
    court.mine()
    court.force_close()
    assert court.published_commitments == 0
    assert court.state == "BROADCAST_COMMIT"
    assert "data_loss" in court.alarms()
    court.mine(20)
    assert court.published_commitments == 0
    assert court.contract_stages == {"to_remote": "resolved"}
    assert court.state == "FULLY_RESOLVED"


@BOTH_TYPES
@pytest.mark.parametrize("buried", [0, 8])
def test_l19_what_proved_data_loss_is_not_forgotten_in_a_reorg(
    channel_type: str, buried: int
) -> None:
    court = MemoryCourt(restarts=True)
    sim = SimulatedChannel(f"data loss and a reorg {buried}", channel_type)
    court.begin(sim)
    future = sim.their_commitment_tx(5)
    court.broadcast(future)
    court.mine(1 + buried)
    court.reorg(1 + buried)
    assert court.case.funding_spend is None
    court.force_close()
    assert court.published_commitments == 0
    assert "data_loss" in court.alarms()
    court.broadcast(future)
    court.mine(20)
    assert court.published_commitments == 0
    assert court.state == "FULLY_RESOLVED"


@BOTH_TYPES
def test_l14_l19_with_data_lost_no_dust_is_failed_upstream(channel_type: str) -> None:
    """What is dust by all that we know may have an output on the peer's newer commitment."""
    court = MemoryCourt(restarts=True)
    sim = SimulatedChannel("data loss and dust", channel_type)
    court.begin(sim)
    dust = sim.htlc(1, Direction.OFFERED, 200_000, court.height + 40)
    court.tell(*sim.whole_move(0, dust))
    court.broadcast(sim.their_commitment_tx(7))
    court.mine()
    court.force_close()
    assert court.state == "BROADCAST_COMMIT"
    court.mine(20)
    assert court.close_kind == "data_loss"
    assert court.told("htlc.failed") == []


def _ahead_of_what_was_told(
    name: str, channel_type: str
) -> tuple[MemoryCourt, tuple[ChannelUpdate, ...]]:
    """The peer's next commitment was mined and taken back; the move that made it is untold."""
    court = MemoryCourt(restarts=True)
    sim = SimulatedChannel(name, channel_type)
    court.begin(sim)
    move = sim.whole_move(0)
    court.broadcast(sim.their_commitment_tx(1))
    court.mine()
    court.reorg(1)
    return court, tuple(move)


@BOTH_TYPES
def test_l19_a_commitment_that_the_node_explains_is_no_data_loss(channel_type: str) -> None:
    court, move = _ahead_of_what_was_told("late, not lost", channel_type)
    assert court.case.lost_data
    court.tell(*move)
    assert not court.case.lost_data
    court.force_close()
    assert court.published_commitments == 1


@BOTH_TYPES
def test_l19_what_was_decided_in_data_loss_is_published_once_the_node_explains_it(
    channel_type: str,
) -> None:
    court, move = _ahead_of_what_was_told("decided, then explained", channel_type)
    assert court.force_close() is not None
    assert court.published_commitments == 0
    court.tell(*move)
    assert court.published_commitments == 1
    assert court.case.force_close is not None
    assert court.case.force_close.commitment_number == 1
    assert court.in_mempool(court.case.force_close.txid)
    court.mine(20)
    assert court.close_kind == "local"


@BOTH_TYPES
def test_l19_what_was_refused_before_data_loss_showed_is_sent_no_more(channel_type: str) -> None:
    court = MemoryCourt(restarts=True)
    sim = SimulatedChannel("refused, then lost", channel_type)
    court.begin(sim)
    court.refuse_publishing(True)
    ours = court.force_close()
    assert ours is not None
    court.broadcast(sim.their_commitment_tx(5))
    court.mine()
    court.reorg(1)
    court.refuse_publishing(False)
    bumps = [e for e in court.effects if isinstance(e, BumpCommitment)]
    court.mine(5)
    assert not court.in_mempool(ours)
    assert [e for e in court.effects if isinstance(e, BumpCommitment)] == bumps


@BOTH_TYPES
def test_l19_data_loss_fails_no_htlc_that_the_peer_may_still_claim(channel_type: str) -> None:
    court = MemoryCourt()
    sim = SimulatedChannel("data loss with htlcs", channel_type)
    court.begin(sim)
    offered = sim.htlc(1, Direction.OFFERED, 40_000_000, court.height + 40)
    court.tell(*sim.whole_move(0, offered))
    court.broadcast(sim.their_commitment_tx(9))
    court.mine(20)
    assert court.close_kind == "data_loss"
    assert court.told("htlc.failed") == []


@BOTH_TYPES
def test_no_output_that_is_the_peers_is_watched_but_where_it_may_be_an_htlc(
    channel_type: str,
) -> None:
    court, sim = begun("whose outputs", channel_type)
    hold(court, sim)
    for number, is_watched in ((1, False), (9, True)):
        tx = sim.their_commitment_tx(number)
        court.reorg(0 if number == 1 else 4, [tx])
        court.mine(3)
        ours = {contract.outpoint for contract in court.case.contracts}
        every = {OutPoint.of(tx.txid(), index) for index in range(len(tx.outputs))}
        assert {court.is_watched(outpoint) for outpoint in every - ours} == {is_watched}


def test_the_spend_of_what_is_nobodys_says_nothing() -> None:
    court, sim = begun("nobody's", STATIC_REMOTEKEY)
    hold(court, sim)
    before = court.case
    theirs = sim.their_commitment_tx()
    stranger = taken(OutPoint.of(theirs.txid(), 0))
    court.hear(spent(stranger.inputs[0].outpoint, stranger, before.best_height))
    assert court.case == before


@BOTH_TYPES
@pytest.mark.parametrize("taken_before", [True, False])
@pytest.mark.parametrize("another", [True, False])
def test_u1_so_is_that_of_an_htlc_which_the_node_tells_after_the_close(
    channel_type: str, another: bool, taken_before: bool
) -> None:
    court = MemoryCourt(restarts=True)
    sim = SimulatedChannel("data loss told by parts", channel_type)
    court.begin(sim)
    first, late = (
        sim.htlc(number, Direction.OFFERED, 40_000_000, court.height + 40) for number in (1, 2)
    )
    known = [first] if another else []
    court.tell(*sim.whole_move(0, *known))
    told = sim.whole_move(0, *known, late)
    sim.move(0, *known, late)
    court.reorg(0, [sim.their_commitment_tx(3)])
    court.mine(4)
    for happens in (True, False):
        if happens is taken_before:
            court.reorg(0, [Peer(sim).second_level(3, 2, sim.preimage(2))])
        else:
            court.tell(*told)
    assert court.close_kind == "data_loss"
    assert [fulfilled["htlc_id"] for fulfilled in court.told("htlc.fulfilled")] == [2]


@BOTH_TYPES
def test_l1_what_was_taken_while_our_data_was_lost_stays_taken_once_the_node_tells(
    channel_type: str,
) -> None:
    """No HTLC that we offered is left by then; the peer took back its own."""
    court, sim = begun("taken while it was lost", channel_type)
    offered = sim.htlc(1, Direction.OFFERED, 40_000_000, court.height + 40)
    court.tell(*sim.whole_move(0, offered))
    told = sim.whole_move(0, sim.htlc(2, Direction.RECEIVED, 40_000_000, court.height + 4))
    court.reorg(0, [sim.their_commitment_tx(2)])
    court.mine(4)
    court.reorg(0, [Peer(sim).second_level(2, 2)])
    assert court.close_kind == "data_loss"
    court.tell(*told)
    court.tell_preimage(sim.preimage(2))
    court.mine(12)
    assert (court.close_kind, court.state) == ("remote", "FULLY_RESOLVED")


@BOTH_TYPES
@pytest.mark.parametrize("resolved", [True, False])
def test_u1_a_preimage_that_the_peer_shows_after_data_loss_is_told_and_shared(
    channel_type: str, resolved: bool
) -> None:
    """We can claim nothing but our main output; upstream the HTLC can be fulfilled all the same."""
    court = MemoryCourt(restarts=True)
    sim = SimulatedChannel("data loss and a claim", channel_type)
    court.begin(sim)
    offered = sim.htlc(1, Direction.OFFERED, 40_000_000, court.height + 40)
    court.tell(*sim.whole_move(0, offered))
    sim.move(0, offered)
    court.reorg(0, [sim.their_commitment_tx(2)])
    court.mine(30 if resolved else 4)
    assert (court.state == "FULLY_RESOLVED") is resolved
    court.reorg(0, [Peer(sim).second_level(2, 1, sim.preimage(1))])
    assert [(told["htlc_id"], told["preimage"]) for told in court.told("htlc.fulfilled")] == [
        (1, str(sim.preimage(1)))
    ]
    assert any(isinstance(effect, SharePreimage) for effect in court.effects)
    court.mine(20)
    assert court.state == "FULLY_RESOLVED"


@BOTH_TYPES
def test_l22_an_unknown_spend_alarms_in_its_block_and_is_never_forgotten(
    channel_type: str,
) -> None:
    court = MemoryCourt()
    sim = SimulatedChannel("rogue", channel_type)
    court.begin(sim)
    court.broadcast(sim.rogue_tx())
    court.mine()
    assert "unknown_spend" in court.alarms()
    court.mine(4)
    court.reorg(0, [taken(OutPoint.of(sim.rogue_tx().txid(), 0))])
    court.mine(200)
    assert court.state == "WAITING_FULL_RESOLUTION"
    assert court.close_kind == "unknown_spend"


def test_l22_an_unknown_channel_type_is_watched_and_any_spend_of_it_alarms() -> None:
    sim = SimulatedChannel("taproot").funded(OutPoint.of(Txid(bytes(32)), 1))
    channel = msgspec.structs.replace(sim.channel, channel_type="simple_taproot")
    opened = open_case(ChannelOpened(channel))
    assert any(isinstance(e, WatchOutpoint) for e in opened.effects)
    assert _alarms(opened.effects) == {"unknown_channel_type"}
    with pytest.raises(UnsupportedChannelType):
        advance(opened.case, ChannelUpdated((sim.first_update(),)))
    tx = sim.cooperative_tx()
    verdict = advance(opened.case, spent(channel.funding_outpoint, tx, 100))
    assert _alarms(verdict.effects) == {"unknown_spend"}
    assert verdict.case.funding_spend is not None
    assert verdict.case.funding_spend.kind is CloseKind.UNKNOWN_SPEND
    assert not any(isinstance(e, PublishCommitment) for e in verdict.effects)


def _alarms(effects: tuple[object, ...]) -> set[str]:
    return {effect.kind for effect in effects if isinstance(effect, RaiseAlarm)}
