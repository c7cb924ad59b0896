"""Good webhooks: taken once, whatever is doubled, repeated or sent by two at the same time."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from contractcourt.case import Case
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY, Direction
from contractcourt.events import ChannelUpdate, PreimageLearned
from contractcourt.units import Txid
from storage import cases, channels, docket, node_secrets
from storage.database import Connection
from tests.model.world import after_splice
from tests.storage.blocked import wait_for_a_blocked_session
from tests.storage.examples import WEBHOOK_SEAL
from tests.tasks.chain_events import ChainEvents
from tests.tasks.opened import (
    append_unheard_of,
    damage_case,
    damage_transactions,
    show_unheard_of,
)
from tests.workers.gateway.serving import GatewayClient, channel_of, updates_of
from workers.simulation.channel import SimulatedChannel
from workers.simulation.feed import opened_data, pubkeys_data, update_data


def case_of(gateway: GatewayClient, sim: SimulatedChannel) -> Case:
    """The stored case of a channel."""
    with gateway.db.transaction() as conn:
        row = channels.find(conn, sim.channel.channel_point)
        assert row is not None
        stored = cases.read(conn, row.id)
    assert stored is not None
    return stored.case


def test_opening_stores_the_channel_and_says_where(
    gateway: GatewayClient, sim: SimulatedChannel
) -> None:
    answer = gateway.open(sim)
    assert answer == {"channel_point": str(sim.funding_outpoint), "seq": 1, "duplicate": False}
    assert case_of(gateway, sim).channel == sim.channel


@pytest.mark.parametrize("channel_type", [STATIC_REMOTEKEY, ANCHORS_ZERO_FEE_HTLC])
def test_a_channel_moves_on(gateway: GatewayClient, channel_type: str) -> None:
    sim = channel_of(channel_type=channel_type)
    gateway.open(sim)
    gateway.update(sim, sim.first_update())
    htlc = sim.htlc(7, Direction.OFFERED, 20_000_000, 700)
    steps = sim.whole_move(30_000_000, htlc)
    answer = gateway.update(sim, *steps)
    assert (answer.status_code, answer.json()["seq"]) == (202, 3)
    case = case_of(gateway, sim)
    assert case.local_commitment is not None
    assert case.local_commitment.number == 1
    assert [remote.number for remote in case.remote_commitments] == [1]
    assert len(case.revocation_secrets) == 1


def test_one_step_may_stand_at_the_top(gateway: GatewayClient, sim: SimulatedChannel) -> None:
    gateway.open(sim)
    step = update_data(sim.first_update())
    data = {"channel_point": str(sim.funding_outpoint), **step}
    assert gateway.send("channel.updated", data).status_code == 202
    assert case_of(gateway, sim).local_commitment is not None


def test_our_commitment_may_come_signed_by_both(
    gateway: GatewayClient, sim: SimulatedChannel
) -> None:
    gateway.open(sim)
    data = updates_of(sim, sim.first_update())
    local = data["updates"][0]["local_commitment"]
    local["tx"] = sim.our_commitment_tx(0).serialize().hex()
    del local["remote_signature"]
    assert gateway.send("channel.updated", data).status_code == 202
    stored = case_of(gateway, sim).local_commitment
    expected = sim.local_commitment(0)
    assert stored is not None
    assert stored.tx == expected.tx
    assert stored.txid == expected.txid
    assert stored.remote_signature == expected.remote_signature


def test_directions_may_be_named_by_who_sends(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    htlc = opened.htlc(1, Direction.RECEIVED, 20_000_000, 700)
    opened.move(0, htlc)
    data = updates_of(opened, opened.propose())
    data["updates"][0]["remote_pending_commitment"]["htlcs"][0]["direction"] = "incoming"
    assert gateway.send("channel.updated", data).status_code == 202
    newest = case_of(gateway, opened).remote_commitments[-1]
    assert newest.htlcs[0].direction is Direction.RECEIVED


def test_a_type_that_nobody_knows_is_watched(gateway: GatewayClient) -> None:
    sim = channel_of(channel_type="simple_taproot")
    assert gateway.open(sim)["seq"] == 1
    refused = gateway.update(sim, sim.first_update())
    assert refused.status_code == 422
    assert refused.json()["type"].endswith("unsupported-channel-type")


def test_a_doubled_message_changes_nothing(gateway: GatewayClient, sim: SimulatedChannel) -> None:
    data = opened_data(sim.channel)
    first = gateway.send("channel.opened", data, message_id="msg_1")
    before = gateway.counts()
    second = gateway.send("channel.opened", data, message_id="msg_1")
    assert second.status_code == 202
    assert second.json() == {**first.json(), "duplicate": True}
    assert gateway.counts() == before
    assert (
        gateway.metric(
            'contractcourt_webhooks_accepted_total{duplicate="true",type="channel.opened"}'
        )
        == 1
    )


def test_a_late_double_answers_with_its_first_place(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    steps = opened.whole_move(10_000_000)
    data = updates_of(opened, *steps)
    first = gateway.send("channel.updated", data, message_id="msg_early").json()
    gateway.update(opened, *opened.whole_move(5_000_000))
    late = gateway.send("channel.updated", data, message_id="msg_early")
    assert (late.status_code, late.json()) == (202, {**first, "duplicate": True})
    local = case_of(gateway, opened).local_commitment
    assert local is not None
    assert local.number == 2


def test_one_message_sent_by_many_at_once_is_stored_once(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    data = updates_of(opened, *opened.whole_move(10_000_000))
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: gateway.send("channel.updated", data, message_id="msg_x"), range(8))
        )
    assert {answer.status_code for answer in answers} == {202}
    assert {answer.json()["seq"] for answer in answers} == {3}
    assert sum(not answer.json()["duplicate"] for answer in answers) == 1
    assert gateway.counts()[0] == 3


def test_an_id_names_one_message(gateway: GatewayClient, opened: SimulatedChannel) -> None:
    gateway.send(
        "channel.updated", updates_of(opened, *opened.whole_move(1_000_000)), message_id="msg_1"
    )
    before = gateway.counts()
    other = updates_of(opened, *opened.whole_move(2_000_000))
    answer = gateway.send("channel.updated", other, message_id="msg_1")
    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:contractcourt:problem:message-id-reused"
    assert gateway.counts() == before


def test_ids_are_each_nodes_own(gateway: GatewayClient, sim: SimulatedChannel) -> None:
    other = channel_of("another", node="bob")
    gateway.add_node("bob", other.sweep_script)
    mine = gateway.send("channel.opened", opened_data(sim.channel), message_id="msg_1")
    theirs = gateway.send(
        "channel.opened", opened_data(other.channel), node="bob", message_id="msg_1"
    )
    assert (mine.status_code, theirs.status_code) == (202, 202)
    assert theirs.json()["duplicate"] is False


def test_opening_again_with_the_same_facts_is_a_duplicate(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    answer = gateway.send("channel.opened", opened_data(opened.channel))
    assert answer.json() == {
        "channel_point": str(opened.funding_outpoint),
        "seq": 1,
        "duplicate": True,
    }


def test_opening_again_with_other_facts_is_a_conflict(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    before = gateway.counts()
    data = opened_data(opened.channel)
    data["capacity_sat"] += 1
    answer = gateway.send("channel.opened", data)
    assert (answer.status_code, answer.json()["title"]) == (
        409,
        "This contradicts what is already known",
    )
    assert gateway.counts() == before


def test_the_other_end_of_a_channel_is_told_to_take_a_court_of_its_own(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    peer = replace(opened.as_peer(), node="bob")
    gateway.add_node("bob", peer.sweep_script)
    before = gateway.counts()
    answer = gateway.send("channel.opened", opened_data(peer.channel), node="bob")
    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:contractcourt:problem:conflict"
    assert "a court of its own" in answer.json()["detail"]
    assert "alice" not in answer.text
    assert gateway.counts() == before


def test_a_rotated_secret_stays_good_for_its_overlap(
    gateway: GatewayClient, sim: SimulatedChannel
) -> None:
    old = gateway.secrets["alice"]
    with gateway.db.transaction() as conn:
        gateway.secrets["alice"] = node_secrets.rotate(conn, WEBHOOK_SEAL, "alice", 3600)
    assert gateway.open(sim)["seq"] == 1
    body = {
        "type": "channel.updated",
        "timestamp": datetime.now(UTC).isoformat(),
        "data": updates_of(sim, sim.first_update()),
    }
    answer = gateway.send_raw(json.dumps(body).encode(), secret=old)
    assert answer.status_code == 202
    with gateway.db.transaction() as conn:
        node_secrets.rotate(conn, WEBHOOK_SEAL, "alice", 0)
    again = gateway.send_raw(json.dumps(body).encode())
    assert again.status_code == 401


def test_a_preimage_reaches_every_channel_that_holds_its_htlc(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    htlc = opened.htlc(3, Direction.RECEIVED, 20_000_000, 700)
    gateway.update(opened, *opened.whole_move(0, htlc))
    preimage = opened.preimage(3)
    data = {"payment_hash": str(htlc.payment_hash), "preimage": str(preimage)}
    answer = gateway.send("preimage.learned", data)
    assert answer.status_code == 202
    assert answer.json()["channel_point"] == str(opened.funding_outpoint)
    assert case_of(gateway, opened).preimage_of(htlc.payment_hash) == preimage


@pytest.mark.parametrize("spoil", [append_unheard_of, damage_case])
def test_a_channel_that_can_not_be_advanced_keeps_a_preimage_from_no_other(
    gateway: GatewayClient, opened: SimulatedChannel, spoil: Callable[[Connection, int], None]
) -> None:
    """The parts of one payment come over several channels."""
    other = channel_of("another part")
    gateway.open(other)
    gateway.update(other, other.first_update())
    htlc = opened.htlc(3, Direction.RECEIVED, 20_000_000, 700)
    gateway.update(opened, *opened.whole_move(0, htlc))
    gateway.update(other, *other.whole_move(0, htlc))
    with gateway.db.transaction() as conn:
        row = channels.find(conn, opened.funding_outpoint)
        assert row is not None
        spoil(conn, row.id)
        stuck = channels.find(conn, opened.funding_outpoint)
        assert stuck is not None
    preimage = opened.preimage(3)
    data = {"payment_hash": str(htlc.payment_hash), "preimage": str(preimage)}
    assert gateway.send("preimage.learned", data).status_code == 202
    assert case_of(gateway, other).preimage_of(htlc.payment_hash) == preimage
    with gateway.db.transaction() as conn:
        row = channels.find(conn, opened.funding_outpoint)
    assert row is not None
    assert row.last_seq == stuck.last_seq + 1, "its own docket keeps the preimage"
    assert stuck.id in {channel for wake in gateway.wakes for channel in wake.channels}


def test_a_channel_whose_law_refuses_keeps_a_preimage_from_no_other(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    """What spent its funding is damaged where it is stored, and only now has to be read."""
    other = channel_of("another part")
    gateway.open(other)
    gateway.update(other, other.first_update())
    htlc = opened.htlc(3, Direction.RECEIVED, 20_000_000, 205)
    for sim in (opened, other):
        gateway.update(sim, *sim.whole_move(0, htlc))
    with gateway.db.transaction() as conn:
        row = channels.find(conn, opened.funding_outpoint)
    assert row is not None
    chain = ChainEvents(gateway.db, row.id)
    chain.spent(opened.funding_outpoint, opened.their_commitment_tx(), 200)
    gateway.db.run(lambda conn: damage_transactions(conn, row.id))
    preimage = opened.preimage(3)
    data = {"payment_hash": str(htlc.payment_hash), "preimage": str(preimage)}
    assert gateway.send("preimage.learned", data).status_code == 202
    assert case_of(gateway, other).preimage_of(htlc.payment_hash) == preimage
    assert row.id in {channel for wake in gateway.wakes for channel in wake.channels}


def test_a_channel_in_a_state_of_a_newer_version_keeps_a_preimage_from_no_other(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    htlc = opened.htlc(3, Direction.RECEIVED, 20_000_000, 700)
    gateway.update(opened, *opened.whole_move(0, htlc))
    with gateway.db.transaction() as conn:
        row = channels.find(conn, opened.funding_outpoint)
        assert row is not None
        show_unheard_of(conn, row.id)
    preimage = opened.preimage(3)
    data = {"payment_hash": str(htlc.payment_hash), "preimage": str(preimage)}
    assert gateway.send("preimage.learned", data).status_code == 202


def test_p4_a_preimage_for_many_channels_holds_no_docket_while_it_waits_for_a_case(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    """Who holds that case puts the same preimage, which the chain shows, on the other dockets."""
    other = channel_of("another part")
    gateway.open(other)
    gateway.update(other, other.first_update())
    htlc = opened.htlc(3, Direction.RECEIVED, 20_000_000, 700)
    for sim in (opened, other):
        gateway.update(sim, *sim.whole_move(0, htlc))
    shown = PreimageLearned(htlc.payment_hash, opened.preimage(3))
    data = {"payment_hash": str(shown.payment_hash), "preimage": str(shown.preimage)}
    with ThreadPoolExecutor(1) as pool:
        with gateway.db.transaction() as verdict:
            rows = [channels.find(verdict, sim.funding_outpoint) for sim in (opened, other)]
            first, last = sorted(row.id for row in rows if row is not None)
            cases.lock_one(verdict, last)
            told = pool.submit(gateway.send, "preimage.learned", data)
            wait_for_a_blocked_session(verdict)
            verdict.execute("SET LOCAL lock_timeout = '500ms'")
            docket.append(verdict, first, shown, idempotency_key="shared", source="court")
        assert told.result().status_code == 202
    assert case_of(gateway, opened).preimage_of(htlc.payment_hash) == shown.preimage
    assert case_of(gateway, other).preimage_of(htlc.payment_hash) == shown.preimage


def test_a_preimage_that_nobody_waits_for_yet_is_taken(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    data = {
        "payment_hash": str(opened.htlc(9, Direction.OFFERED, 1, 700).payment_hash),
        "preimage": str(opened.preimage(9)),
    }
    answer = gateway.send("preimage.learned", data, message_id="msg_p")
    assert answer.json() == {"channel_point": None, "seq": None, "duplicate": False}
    again = gateway.send("preimage.learned", data, message_id="msg_p")
    assert again.json() == {"channel_point": None, "seq": None, "duplicate": True}


def test_a_preimage_may_overtake_its_htlc(gateway: GatewayClient, opened: SimulatedChannel) -> None:
    htlc = opened.htlc(3, Direction.RECEIVED, 20_000_000, 700)
    preimage = opened.preimage(3)
    data = {"payment_hash": str(htlc.payment_hash), "preimage": str(preimage)}
    early = gateway.send("preimage.learned", data, message_id="msg_p")
    assert early.json() == {"channel_point": None, "seq": None, "duplicate": False}
    gateway.update(opened, *opened.whole_move(0, htlc))
    assert case_of(gateway, opened).preimage_of(htlc.payment_hash) == preimage
    entries = gateway.counts()[0]
    assert gateway.send("preimage.learned", data, message_id="msg_p").json()["duplicate"] is True
    gateway.update(opened, *opened.whole_move(0, htlc))
    assert gateway.counts()[0] == entries + 1, "it is told once"


def test_a_splice_is_announced(gateway: GatewayClient, opened: SimulatedChannel) -> None:
    txid = Txid(bytes(range(32)))
    data = {
        "channel_point": str(opened.funding_outpoint),
        "funding_outpoint": f"{txid}:0",
        "funding_txid_candidates": [str(txid)],
        "capacity_sat": 900_000,
    }
    assert gateway.send("channel.funding_replaced", data).status_code == 202
    assert case_of(gateway, opened).splice.funding_txid_candidates == (txid,)


def test_our_commitment_on_any_candidate_of_a_splice_is_taken(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    """It was replaced by fee, and the older one may still be mined."""
    splices = [opened.splice_tx(fee) for fee in (500, 900)]
    for splice in splices:
        data = {
            "channel_point": str(opened.funding_outpoint),
            "funding_outpoint": f"{splice.txid()}:0",
            "capacity_sat": splice.outputs[0].value,
        }
        assert gateway.send("channel.funding_replaced", data).status_code == 202
    for splice in splices:
        ours = after_splice(opened, splice).local_commitment(0)
        answer = gateway.update(opened, ChannelUpdate(local_commitment=ours))
        assert answer.status_code == 202
        assert ours.txid in {held.txid for held in case_of(gateway, opened).held}


def test_s2_a_commitment_on_new_funding_keys_is_taken_once_they_are_told(
    gateway: GatewayClient, opened: SimulatedChannel
) -> None:
    splice = opened.splice_tx(funding_keys=1)
    there = after_splice(opened, splice, funding_keys=1)
    assert there.funding_pubkeys is not None
    data = {
        "channel_point": str(opened.funding_outpoint),
        "funding_outpoint": f"{splice.txid()}:0",
        "capacity_sat": splice.outputs[0].value,
    }
    assert gateway.send("channel.funding_replaced", data).status_code == 202
    update = ChannelUpdate(local_commitment=there.local_commitment(0))
    refused = gateway.update(opened, update)
    assert refused.status_code == 422
    assert "channel.funding_replaced" in refused.json()["detail"]
    keys = pubkeys_data(there.funding_pubkeys)
    told = gateway.send("channel.funding_replaced", {**data, **keys})
    assert told.status_code == 202
    assert gateway.update(opened, update).status_code == 202
    case = case_of(gateway, opened)
    held = case.splice.told[-1].local_commitment
    assert held is not None
    assert held.txid == there.local_commitment(0).txid


@pytest.mark.parametrize("left_out", ["local_funding_pubkey", "funding_outpoint"])
def test_funding_keys_come_both_and_with_their_outpoint(
    gateway: GatewayClient, opened: SimulatedChannel, left_out: str
) -> None:
    splice = opened.splice_tx(funding_keys=1)
    pubkeys = after_splice(opened, splice, funding_keys=1).funding_pubkeys
    assert pubkeys is not None
    data = {
        "channel_point": str(opened.funding_outpoint),
        "funding_outpoint": f"{splice.txid()}:0",
        "funding_txid_candidates": [str(splice.txid())],
        **pubkeys_data(pubkeys),
    }
    del data[left_out]
    refused = gateway.send("channel.funding_replaced", data)
    assert refused.status_code == 422
    assert "together" in refused.json()["detail"]


def test_a_clock_may_be_a_little_wrong(gateway: GatewayClient, sim: SimulatedChannel) -> None:
    body = {
        "type": "channel.opened",
        "timestamp": "2026-01-01T00:00:00Z",
        "data": opened_data(sim.channel),
    }
    signed_at = datetime.now(UTC) - timedelta(minutes=4)
    answer = gateway.send_raw(json.dumps(body).encode(), signed_at=signed_at)
    assert answer.status_code == 202
