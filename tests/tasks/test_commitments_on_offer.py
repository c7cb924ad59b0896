"""A commitment is signed and sent only while its case offers it (users_ask L19, promise P3).

The Bitcoin node and the signer are nowhere: whoever asked them would fail.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chain.errors import ChainError
from contractcourt.arbitrator import stakes
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import STATIC_REMOTEKEY, Direction
from contractcourt.events import (
    ChannelUpdated,
    Event,
    ForceCloseRequested,
    HeightReached,
    PreimageLearned,
    PublishOutcome,
    SpendUnconfirmed,
)
from contractcourt.units import (
    BlockHash,
    BlockHeight,
    FeeratePerKw,
    Satoshi,
    Txid,
    WeightUnits,
)
from storage import broadcasts, cases, docket, outbox, settling, signed
from storage.broadcasts import COMMITMENT, Broadcast, BroadcastState
from storage.database import Connection, Database
from storage.docket import NewEntry
from storage.signed import Price, Signed, SpentInput
from tasks import wakeups
from tasks.arbitration import arbitrate
from tasks.publish import publish
from tasks.resources import Resources
from tasks.sending import send
from tests.spent import spent
from tests.tasks.opened import (
    change_case,
    damage_transactions,
    open_channel,
    open_funded,
    store_unheard_of,
)
from workers.simulation.channel import SimulatedChannel

_ASKED = ForceCloseRequested("2026-01-01T00:00:00+00:00", "operator", "a test")
_BLOCK, _HEIGHT = BlockHash(b"\x07" * 32), BlockHeight(200)


def _hear(db: Database, channel_id: int, *events: Event) -> None:
    entries = [NewEntry(channel_id, event, type(event).__name__, "chain") for event in events]
    db.run(lambda conn: docket.append_many(conn, entries))
    assert arbitrate(db, [channel_id]).applied == len(events)


def _shown_and_taken_back(sim: SimulatedChannel, number: int) -> tuple[Event, Event]:
    """The peer's commitment of this number is mined, and a reorg drops it."""
    tx = sim.their_commitment_tx(number)
    outpoint = sim.funding_outpoint
    return (
        spent(outpoint, tx, _HEIGHT, block_hash=_BLOCK),
        SpendUnconfirmed(outpoint, tx.txid(), _BLOCK, _HEIGHT),
    )


def _stored(db: Database, sim: SimulatedChannel, channel_id: int) -> Broadcast:
    """Our commitment as it is stored whenever it was signed."""

    def store(conn: Connection) -> Broadcast:
        stored = cases.read(conn, channel_id)
        assert stored is not None
        ours = stakes.decided_commitment(stored.case)
        assert ours is not None
        funding = SpentInput(sim.funding_outpoint, channel_id, Satoshi(0))
        price = Price(Satoshi(0), WeightUnits(700), FeeratePerKw(0))
        return signed.store(
            conn, Signed(channel_id, COMMITMENT, ours.txid, ours.tx, [funding], price)
        )

    return db.run(store)


def _wanted(db: Database, channel_id: int, kind: str = "publish_commitment") -> list[int]:
    with db.transaction() as conn:
        rows = outbox.unsent(conn, channel_id)
    return [row.id for row in rows if row.kind == kind]


def _state(db: Database, sent: Broadcast) -> BroadcastState:
    with db.transaction() as conn:
        found = broadcasts.find(conn, sent.txid)
    assert found is not None
    return found.state


def test_l19_what_waits_to_be_signed_when_data_loss_shows_is_dropped(
    db: Database, cut_off: Resources
) -> None:
    sim, channel_id = open_channel(db, "dropped unsigned")
    _hear(db, channel_id, _ASKED, *_shown_and_taken_back(sim, 5))
    [waiting] = _wanted(db, channel_id)
    publish(cut_off, [waiting])
    assert _wanted(db, channel_id) == []


def test_l19_what_was_sent_before_data_loss_showed_is_sent_no_more(
    db: Database, cut_off: Resources
) -> None:
    sim, channel_id = open_channel(db, "sent before")
    _hear(db, channel_id, _ASKED)
    ours = _stored(db, sim, channel_id)
    with pytest.raises(ChainError):
        send(cut_off, [ours])
    _hear(db, channel_id, *_shown_and_taken_back(sim, 5))
    send(cut_off, [ours])
    assert _state(db, ours) is BroadcastState.ABANDONED


def test_c8_whoever_finds_the_case_held_while_its_commitment_is_given_up_is_told_later(
    db: Database, cut_off: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim, channel_id = open_channel(db, "given up")
    _hear(db, channel_id, _ASKED)
    ours = _stored(db, sim, channel_id)
    _hear(db, channel_id, *_shown_and_taken_back(sim, 5))
    abandon = settling.abandon
    woken: list[list[int]] = []

    def meanwhile(conn: Connection, ids: Sequence[int]) -> None:
        height = HeightReached(BlockHeight(300))
        db.run(
            lambda other: docket.append(
                other, channel_id, height, idempotency_key="h", source="chain"
            )
        )
        assert arbitrate(db, [channel_id]).applied == 0
        abandon(conn, ids)

    monkeypatch.setattr(settling, "abandon", meanwhile)
    monkeypatch.setattr(wakeups, "wake", woken.append)
    send(cut_off, [ours])
    assert woken == [[channel_id]]


def test_f6_what_was_sent_before_the_node_told_a_newer_is_sent_no_more(
    db: Database, cut_off: Resources
) -> None:
    sim, channel_id = open_channel(db, "a newer was told")
    _hear(db, channel_id, _ASKED)
    ours = _stored(db, sim, channel_id)
    [first] = _wanted(db, channel_id)
    _hear(db, channel_id, ChannelUpdated(sim.whole_move(0)))
    assert len(_wanted(db, channel_id)) == 2
    publish(cut_off, [first])
    send(cut_off, [ours])
    assert _state(db, ours) is BroadcastState.ABANDONED
    assert first not in _wanted(db, channel_id)


def test_one_whose_case_only_a_newer_version_can_read_is_left_to_it_and_holds_up_no_other(
    db: Database, cut_off: Resources
) -> None:
    sent = []
    for name in ("newer", "other"):
        sim, channel_id = open_channel(db, name)
        _hear(db, channel_id, _ASKED)
        sent.append(_stored(db, sim, channel_id))
    newer, _ = sent
    store_unheard_of(db, newer.channel_id)
    send(cut_off, [newer])
    with pytest.raises(ChainError):
        send(cut_off, sent)
    assert _state(db, newer) is BroadcastState.OPEN


def test_one_whose_case_is_damaged_is_kept_back_and_holds_up_no_other(
    db: Database, cut_off: Resources
) -> None:
    sent = []
    for name in ("damaged", "other"):
        sim, channel_id = open_channel(db, name)
        _hear(db, channel_id, _ASKED)
        sent.append(_stored(db, sim, channel_id))
    damaged, _ = sent
    db.run(lambda conn: damage_transactions(conn, damaged.channel_id))
    send(cut_off, [damaged])
    with pytest.raises(ChainError):
        send(cut_off, sent)
    assert _state(db, damaged) is BroadcastState.OPEN


def test_one_of_whose_case_a_newer_version_knows_more_is_left_to_it_and_holds_up_no_other(
    db: Database, cut_off: Resources
) -> None:
    """What is read of the case offers it no more; whether the rest does, only that one knows."""
    sim, channel_id = open_channel(db, "newer facts")
    _hear(db, channel_id, _ASKED)
    newer = _stored(db, sim, channel_id)
    _hear(db, channel_id, *_shown_and_taken_back(sim, 5))
    said = ('"path":', '"new_fact":[7],"path":')
    db.run(lambda conn: change_case(conn, newer.channel_id, *said))
    sim, channel_id = open_channel(db, "other")
    _hear(db, channel_id, _ASKED)
    with pytest.raises(ChainError):
        send(cut_off, [newer, _stored(db, sim, channel_id)])
    assert _state(db, newer) is BroadcastState.OPEN


def test_one_that_was_answered_in_words_of_a_newer_version_is_sent_again(
    db: Database, cut_off: Resources
) -> None:
    """Else it, and all that is looked at with it, would be sent no more."""
    sim, channel_id = open_channel(db, "answered")
    _hear(db, channel_id, _ASKED)
    ours = _stored(db, sim, channel_id)
    with db.transaction() as conn:
        conn.execute("UPDATE broadcasts SET last_outcome = 'unheard_of'")
        [found] = broadcasts.open_of(conn, [ours.id])
        told = broadcasts.record_attempts(conn, [(ours.id, PublishOutcome.ACCEPTED, "")])
    assert (found.last_outcome, told[ours.id].outcome_before) == (None, None)
    with pytest.raises(ChainError):
        send(cut_off, [found])


def test_l19_what_was_given_up_is_wanted_again_once_the_node_explains_it(
    db: Database, cut_off: Resources
) -> None:
    sim, channel_id = open_channel(db, "late, not lost")
    proposed, revoked, _ = sim.whole_move(0)
    _hear(db, channel_id, _ASKED)
    ours = _stored(db, sim, channel_id)
    [first] = _wanted(db, channel_id)
    db.run(lambda conn: outbox.mark_sent(conn, first))
    _hear(db, channel_id, *_shown_and_taken_back(sim, 1))
    send(cut_off, [ours])
    assert _state(db, ours) is BroadcastState.ABANDONED
    _hear(db, channel_id, ChannelUpdated((proposed, revoked)))
    [again] = _wanted(db, channel_id)
    assert again > first
    taken_up = _stored(db, sim, channel_id)
    assert (taken_up.txid, taken_up.state) == (ours.txid, BroadcastState.OPEN)
    with pytest.raises(ChainError):
        send(cut_off, [ours])


def test_what_waits_to_be_signed_when_another_commitment_closes_the_channel_is_dropped(
    db: Database, cut_off: Resources
) -> None:
    """A signer that refuses it would be asked for ever. A reorg of the close has it asked anew."""
    sim, channel_id = open_channel(db, "closed unsigned")
    seen, taken_back = _shown_and_taken_back(sim, 0)
    _hear(db, channel_id, _ASKED, seen)
    [waiting] = _wanted(db, channel_id)
    _hear(db, channel_id, HeightReached(BlockHeight(_HEIGHT + 6)))
    publish(cut_off, [waiting])
    assert _wanted(db, channel_id) == []
    _hear(db, channel_id, taken_back)
    [again] = _wanted(db, channel_id)
    assert again > waiting


def test_an_htlc_transaction_whose_commitment_left_the_chain_is_dropped(
    db: Database, cut_off: Resources
) -> None:
    """A signer that refuses it would be asked for ever. It is wanted anew with its commitment."""
    sim = SimulatedChannel("htlc gone with a reorg", STATIC_REMOTEKEY)
    channel_id = open_funded(db, sim.funded(OutPoint.of(Txid(b"\x27" * 32), 0)))
    received = sim.htlc(1, Direction.RECEIVED, 40_000_000, _HEIGHT + 60)
    told = sim.whole_move(0, received)
    preimage = PreimageLearned(received.payment_hash, sim.preimage(1))
    ours, outpoint = sim.our_commitment_tx(), sim.funding_outpoint
    seen = spent(outpoint, ours, _HEIGHT, block_hash=_BLOCK)
    _hear(db, channel_id, ChannelUpdated(told), preimage, seen)
    _hear(db, channel_id, HeightReached(BlockHeight(_HEIGHT + 6)))
    [waiting] = _wanted(db, channel_id, "publish_htlc_transaction")
    _hear(db, channel_id, SpendUnconfirmed(outpoint, ours.txid(), _BLOCK, _HEIGHT))
    publish(cut_off, [waiting])
    assert _wanted(db, channel_id, "publish_htlc_transaction") == []
