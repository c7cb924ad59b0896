"""The stories: how channels end, in the field's words. Each is told to any court."""

from __future__ import annotations

from collections.abc import Callable

from contractcourt.channel import Direction
from contractcourt.events import ChannelUpdate
from tests.model.world import after_splice
from tests.scenarios.court import Court
from workers.simulation.channel import SimulatedChannel
from workers.simulation.peer import Peer

Story = Callable[[Court, SimulatedChannel], None]

#: Deep enough for the close, our longest delay and the burial of every sweep.
_LONG = 30


def _bury(court: Court, depth: int = 3) -> None:
    """The tip's transactions get `depth` confirmations in all."""
    court.mine(depth - 1)


def _resolve(court: Court) -> None:
    for _ in range(_LONG):
        if court.state == "FULLY_RESOLVED":
            return
        court.mine()


def _but_the_anchor(court: Court) -> dict[str, str]:
    """Every contract that is worth a story."""
    return {kind: stage for kind, stage in court.contract_stages.items() if kind != "anchor"}


def cooperative_close(court: Court, sim: SimulatedChannel) -> None:
    """Both agreed: the channel is closed and resolved in one breath, with nothing to sweep."""
    court.begin(sim)
    court.broadcast(sim.cooperative_tx())
    court.mine()
    assert court.state == "DEFAULT"
    assert not court.closed_in_database
    _bury(court)
    assert court.state == "FULLY_RESOLVED"
    assert court.close_kind == "cooperative"
    assert court.contract_stages == {}


def remote_force_close(court: Court, sim: SimulatedChannel) -> None:
    """The peer published its current commitment: our main output is swept."""
    court.begin(sim)
    court.tell(*sim.whole_move(50_000_000))
    court.broadcast(sim.their_commitment_tx())
    court.mine()
    assert [told["kind"] for told in court.told("channel.closing")] == ["remote"]
    assert court.state == "DEFAULT"
    _bury(court)
    assert court.state == "WAITING_FULL_RESOLUTION"
    assert court.contract_stages == {"to_remote": "sweeping"}
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"
    assert court.close_kind == "remote"
    assert court.contract_stages == {"to_remote": "resolved"}
    assert court.published_commitments == 0


def remote_pending_force_close(court: Court, sim: SimulatedChannel) -> None:
    """The peer published the commitment that we had just signed, not yet having revoked."""
    court.begin(sim)
    sim.move(50_000_000)
    court.tell(sim.propose())
    court.broadcast(sim.their_commitment_tx())
    court.mine()
    _bury(court)
    assert court.close_kind == "remote_pending"
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"


def local_force_close(court: Court, sim: SimulatedChannel) -> None:
    """We asked, our commitment confirmed, our delayed output was swept after its delay."""
    court.begin(sim)
    court.tell(*sim.whole_move(-20_000_000))
    txid = court.force_close()
    assert txid == sim.our_commitment_tx().txid()
    assert court.state == "COMMITMENT_BROADCASTED"
    court.mine()
    _bury(court)
    assert court.state == "WAITING_FULL_RESOLUTION"
    assert _but_the_anchor(court) == {"to_local": "immature"}
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"
    assert court.close_kind == "local"
    assert court.published_commitments == 1


def asked_again(court: Court, sim: SimulatedChannel) -> None:
    """A second and a tenth request: the same answer at once, one commitment."""
    court.begin(sim)
    first = court.force_close()
    assert all(court.force_close() == first for _ in range(9))
    assert court.published_commitments == 1
    court.mine()
    assert court.force_close() == first
    _resolve(court)
    assert court.force_close() == first
    assert court.published_commitments == 1
    requested = [t for t in court.told("channel.closing") if t["stage"] == "requested"]
    assert len(requested) == 1


def local_asked_remote_confirms(court: Court, sim: SimulatedChannel) -> None:
    """We published, but a block brought the peer's commitment: that one is resolved."""
    court.begin(sim)
    court.force_close()
    assert court.state == "COMMITMENT_BROADCASTED"
    court.reorg(0, [sim.their_commitment_tx()])
    _bury(court)
    assert court.close_kind == "remote"
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"
    assert court.contract_stages == {"to_remote": "resolved"}


def double_spend_then_theirs(court: Court, sim: SimulatedChannel) -> None:
    """The peer's commitment waits in the mempool: ours is refused, which is no error."""
    court.begin(sim)
    court.broadcast(sim.their_commitment_tx())
    court.force_close()
    assert court.state == "COMMITMENT_BROADCASTED"
    assert not court.in_mempool(sim.our_commitment_tx().txid())
    court.mine()
    _bury(court)
    assert court.close_kind == "remote"
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"


def double_spend_then_ours(court: Court, sim: SimulatedChannel) -> None:
    """Ours is refused as a double spend, and yet a miner takes ours: resolve that one."""
    court.begin(sim)
    court.broadcast(sim.their_commitment_tx())
    court.force_close()
    assert court.state == "COMMITMENT_BROADCASTED"
    court.reorg(0, [sim.our_commitment_tx()])
    _bury(court)
    assert court.close_kind == "local"
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"


def refused_for_another_reason(court: Court, sim: SimulatedChannel) -> None:
    """The node refuses our commitment for a reason of its own: retried until it does not."""
    court.begin(sim)
    court.refuse_publishing(True)
    court.force_close()
    assert court.state == "BROADCAST_COMMIT"
    assert "commitment_policy" in court.alarms()
    court.refuse_publishing(False)
    court.mine()
    assert court.state == "COMMITMENT_BROADCASTED"
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"
    assert court.close_kind == "local"


def refused_then_theirs(court: Court, sim: SimulatedChannel) -> None:
    """Our commitment never gets in, the peer's confirms: still resolved."""
    court.begin(sim)
    court.refuse_publishing(True)
    court.force_close()
    court.reorg(0, [sim.their_commitment_tx()])
    _bury(court)
    assert court.close_kind == "remote"
    court.refuse_publishing(False)
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"


def restarted_in_every_state(court: Court, sim: SimulatedChannel) -> None:
    """Everything dies and comes back in each state: no place in the way is lost."""
    court.begin(sim)
    court.restart()
    court.refuse_publishing(True)
    court.force_close()
    assert court.state == "BROADCAST_COMMIT"
    court.restart()
    court.refuse_publishing(False)
    court.mine()
    assert court.state == "COMMITMENT_BROADCASTED"
    court.restart()
    court.mine()
    court.restart()
    _bury(court)
    assert court.state == "WAITING_FULL_RESOLUTION"
    court.restart()
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"
    court.restart()
    assert court.state == "FULLY_RESOLVED"
    assert court.published_commitments == 1
    assert [told["kind"] for told in court.told("channel.closed")] == ["local"]


def breach(court: Court, sim: SimulatedChannel) -> None:
    """The peer published a revoked commitment: answered in the same block, all of it taken."""
    court.begin(sim)
    court.tell(*sim.whole_move(100_000_000))
    court.broadcast(sim.their_commitment_tx(0))
    court.mine()
    assert "breach" in court.alarms()
    assert court.close_kind == "breach"
    assert court.contract_stages == {"to_remote": "sweeping", "revoked_to_local": "sweeping"}
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"


def breach_with_htlcs(court: Court, sim: SimulatedChannel) -> None:
    """A revoked commitment with HTLCs both ways: each output is punished."""
    court.begin(sim)
    offered = sim.htlc(1, Direction.OFFERED, 40_000_000, court.height + 40)
    received = sim.htlc(2, Direction.RECEIVED, 30_000_000, court.height + 40)
    court.tell(*sim.whole_move(0, offered, received))
    court.tell(*sim.whole_move(10_000_000))
    court.broadcast(sim.their_commitment_tx(1))
    court.mine()
    assert court.contract_stages["revoked_htlc"] == "sweeping"
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"
    assert set(court.contract_stages) == {"to_remote", "revoked_to_local", "revoked_htlc"}


def cheater_moves_to_the_second_level(court: Court, sim: SimulatedChannel) -> None:
    """The cheater takes an HTLC by its second-level transaction: punished there as well."""
    court.begin(sim)
    offered = sim.htlc(1, Direction.OFFERED, 40_000_000, court.height + 40)
    received = sim.htlc(2, Direction.RECEIVED, 30_000_000, court.height + 40)
    court.tell(*sim.whole_move(0, offered, received))
    court.tell(*sim.whole_move(10_000_000))
    success = Peer(sim).second_level(1, 1, sim.preimage(1))
    court.reorg(0, [sim.their_commitment_tx(1), success])
    assert court.close_kind == "breach"
    [fulfilled] = court.told("htlc.fulfilled")
    assert fulfilled["preimage"] == str(sim.preimage(1))
    assert court.contract_stages["revoked_second_level"] == "sweeping"
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"
    assert court.contract_stages["revoked_second_level"] == "resolved"
    assert court.told("htlc.failed") == []


def data_loss(court: Court, sim: SimulatedChannel) -> None:
    """The peer is ahead of all we know: we publish nothing, and still take our main output."""
    court.begin(sim)
    court.broadcast(sim.their_commitment_tx(7))
    court.mine()
    assert "data_loss" in court.alarms()
    court.force_close()
    assert court.state == "BROADCAST_COMMIT"
    assert court.published_commitments == 0
    _bury(court)
    assert court.close_kind == "data_loss"
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"
    assert court.contract_stages == {"to_remote": "resolved"}


def unknown_spend(court: Court, sim: SimulatedChannel) -> None:
    """No rule explains the spend: the operator is told within the block; it stays open."""
    court.begin(sim)
    court.broadcast(sim.rogue_tx())
    court.mine()
    assert "unknown_spend" in court.alarms()
    court.mine(_LONG)
    assert court.close_kind == "unknown_spend"
    assert court.state == "WAITING_FULL_RESOLUTION"


def splice(court: Court, sim: SimulatedChannel) -> None:
    """A known splice spends the funding output: the channel goes on, on its new outpoint."""
    court.begin(sim)
    tx = sim.splice_tx()
    court.tell_splice(tx)
    court.broadcast(tx)
    court.mine()
    court.mine(_LONG)
    assert court.state == "DEFAULT"
    assert court.told("channel.closing") == []
    assert not court.closed_in_database


def late_splice(court: Court, sim: SimulatedChannel) -> None:
    """The splice's webhook comes after the block that held it."""
    court.begin(sim)
    tx = sim.splice_tx()
    court.broadcast(tx)
    court.mine()
    court.tell_splice(tx)
    court.mine(_LONG)
    assert court.state == "DEFAULT"
    assert not court.closed_in_database


def reorg_unconfirms_close(court: Court, sim: SimulatedChannel) -> None:
    """A reorg takes a final close back: the channel is open again, until it closes again."""
    court.begin(sim)
    close = sim.their_commitment_tx()
    court.broadcast(close)
    court.mine()
    _bury(court)
    assert court.closed_in_database
    court.reorg(3)
    assert court.state == "DEFAULT"
    assert not court.closed_in_database
    assert court.contract_stages == {}
    court.broadcast(close)
    court.mine()
    _bury(court)
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"
    assert court.close_kind == "remote"


def reorg_replaces_close(court: Court, sim: SimulatedChannel) -> None:
    """A reorg replaces the peer's commitment by a cooperative close."""
    court.begin(sim)
    court.broadcast(sim.their_commitment_tx())
    court.mine()
    _bury(court)
    assert court.close_kind == "remote"
    court.reorg(3, [sim.cooperative_tx()])
    assert court.state == "FULLY_RESOLVED"
    assert court.close_kind == "cooperative"
    stages = [told["stage"] for told in court.told("channel.closing")]
    assert stages == ["seen", "final", "unseen", "seen", "final"]


def reorg_takes_back_a_sweep(court: Court, sim: SimulatedChannel) -> None:
    """A reorg unconfirms the sweep of a resolved case: it is open again, and resolves again."""
    court.begin(sim)
    court.broadcast(sim.their_commitment_tx())
    court.mine()
    _bury(court)
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"
    court.reorg(6)
    assert court.state == "WAITING_FULL_RESOLUTION"
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"


def goes_on_chain_by_itself(court: Court, sim: SimulatedChannel) -> None:
    """An offered HTLC reaches its expiry while the channel is open: nobody has to ask."""
    court.begin(sim)
    offered = sim.htlc(1, Direction.OFFERED, 40_000_000, court.height + 4)
    dust = sim.htlc(2, Direction.OFFERED, 200_000, court.height + 2)
    court.tell(*sim.whole_move(0, offered, dust))
    court.mine(3)
    assert court.state == "DEFAULT"
    court.mine()
    assert court.state == "COMMITMENT_BROADCASTED"
    assert [told["requested_by"] for told in court.told("channel.closing")] == ["court"]
    assert court.force_close() == sim.our_commitment_tx().txid()
    assert court.published_commitments == 1
    assert len(court.told("channel.closing")) == 1


def claims_before_the_expiry(court: Court, sim: SimulatedChannel) -> None:
    """A received HTLC whose preimage we know takes us on chain 16 blocks before it expires."""
    court.begin(sim)
    received = sim.htlc(1, Direction.RECEIVED, 40_000_000, court.height + 18)
    court.tell(*sim.whole_move(0, received))
    court.mine()
    court.tell_preimage(sim.preimage(1))
    assert court.state == "DEFAULT"
    court.mine()
    assert court.state == "COMMITMENT_BROADCASTED"


def htlcs_on_our_commitment(court: Court, sim: SimulatedChannel) -> None:
    """One times out, one is claimed with its preimage, dust is failed at once.

    With anchors the node's fee wallet pays for our HTLC transactions.
    """
    court.begin(sim)
    offered = sim.htlc(1, Direction.OFFERED, 40_000_000, court.height + 10)
    received = sim.htlc(2, Direction.RECEIVED, 30_000_000, court.height + 60)
    dust = sim.htlc(3, Direction.OFFERED, 200_000, court.height + 60)
    court.tell(*sim.whole_move(0, offered, received, dust))
    court.tell_preimage(sim.preimage(2))
    court.force_close()
    assert [told["htlc_id"] for told in court.told("htlc.failed")] == [3]
    court.mine()
    _resolve(court)
    stages = court.contract_stages
    assert stages["to_local"] == "resolved"
    assert court.state == "FULLY_RESOLVED"
    anchors = {"anchor"} if sim.channel.anchors else set()
    assert set(stages) == {"to_local", "offered_htlc", "received_htlc", "second_level"} | anchors
    assert [told["htlc_id"] for told in court.told("htlc.failed")] == [3, 1]


def htlcs_on_their_commitment(court: Court, sim: SimulatedChannel) -> None:
    """Directly spent: one taken back at its expiry, one claimed with its preimage."""
    court.begin(sim)
    offered = sim.htlc(1, Direction.OFFERED, 40_000_000, court.height + 10)
    received = sim.htlc(2, Direction.RECEIVED, 30_000_000, court.height + 60)
    dust = sim.htlc(3, Direction.OFFERED, 200_000, court.height + 60)
    court.tell(*sim.whole_move(0, offered, received, dust))
    court.tell_preimage(sim.preimage(2))
    court.broadcast(sim.their_commitment_tx())
    court.mine()
    assert court.told("htlc.failed") == []
    _bury(court)
    assert [told["htlc_id"] for told in court.told("htlc.failed")] == [3]
    assert court.contract_stages["received_htlc"] == "sweeping"
    assert court.contract_stages["offered_htlc"] == "immature"
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"
    assert [told["htlc_id"] for told in court.told("htlc.failed")] == [3, 1]


def peer_claims_from_our_commitment(court: Court, sim: SimulatedChannel) -> None:
    """The peer takes what we offered with the preimage, which is told at once, at no depth."""
    court.begin(sim)
    offered = sim.htlc(1, Direction.OFFERED, 40_000_000, court.height + 40)
    court.tell(*sim.whole_move(0, offered))
    court.force_close()
    court.mine()
    _bury(court)
    court.broadcast(Peer(sim).claim(1, 1, sim.preimage(1)))
    court.mine()
    [fulfilled] = court.told("htlc.fulfilled")
    assert (fulfilled["htlc_id"], fulfilled["preimage"]) == (1, str(sim.preimage(1)))
    assert court.contract_stages["offered_htlc"] == "spent"
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"
    assert court.told("htlc.failed") == []


def peer_claims_from_its_commitment(court: Court, sim: SimulatedChannel) -> None:
    """The same on the peer's own commitment, by its HTLC-success; a reorg takes it back."""
    court.begin(sim)
    offered = sim.htlc(1, Direction.OFFERED, 40_000_000, court.height + 40)
    court.tell(*sim.whole_move(0, offered))
    court.broadcast(sim.their_commitment_tx())
    court.mine()
    _bury(court)
    success = Peer(sim).second_level(1, 1, sim.preimage(1))
    court.reorg(0, [success])
    assert len(court.told("htlc.fulfilled")) == 1
    court.reorg(1)
    assert court.contract_stages["offered_htlc"] == "immature"
    court.reorg(0, [success])
    assert set(court.contract_stages) == {"to_remote", "offered_htlc"}
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"
    assert court.told("htlc.failed") == []


def preimage_comes_late(court: Court, sim: SimulatedChannel) -> None:
    """The preimage arrives after the close, before the expiry: claimed then."""
    court.begin(sim)
    received = sim.htlc(1, Direction.RECEIVED, 30_000_000, court.height + 60)
    court.tell(*sim.whole_move(0, received))
    court.broadcast(sim.their_commitment_tx())
    court.mine()
    _bury(court)
    court.mine(8)
    assert court.contract_stages == {"to_remote": "resolved", "received_htlc": "immature"}
    court.tell_preimage(sim.preimage(1))
    assert court.contract_stages["received_htlc"] == "sweeping"
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"


def preimage_never_comes(court: Court, sim: SimulatedChannel) -> None:
    """A received HTLC that nobody could claim: given up at its expiry, and the case ends."""
    court.begin(sim)
    received = sim.htlc(1, Direction.RECEIVED, 30_000_000, court.height + 12)
    court.tell(*sim.whole_move(0, received))
    court.broadcast(sim.their_commitment_tx())
    court.mine()
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"
    assert court.contract_stages == {"to_remote": "resolved", "received_htlc": "resolved"}


def late_and_doubled_updates(court: Court, sim: SimulatedChannel) -> None:
    """The close is seen before the webhook that explains it: looked at again, then resolved."""
    court.begin(sim)
    sim.move(30_000_000)
    late = (sim.propose(), sim.revoke(), sim.accept())
    court.broadcast(sim.their_commitment_tx())
    court.mine()
    assert "data_loss" in court.alarms()
    court.tell(*late)
    court.tell(*late)
    _bury(court)
    assert court.close_kind == "remote"
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"


def data_loss_after_a_force_close(court: Court, sim: SimulatedChannel) -> None:
    """What was refused is never sent again once the peer has shown more than we know (L19)."""
    court.begin(sim)
    court.refuse_publishing(True)
    ours = court.force_close()
    assert ours is not None
    future = sim.their_commitment_tx(7)
    court.reorg(0, [future])
    assert "data_loss" in court.alarms()
    court.reorg(1)
    court.refuse_publishing(False)
    court.mine(3)
    assert not court.in_mempool(ours)
    assert court.close_kind is None
    court.broadcast(future)
    court.mine(1 + _LONG)
    assert court.close_kind == "data_loss"
    assert court.state == "FULLY_RESOLVED"


def splice_taken_back_under_a_force_close(court: Court, sim: SimulatedChannel) -> None:
    """What was decided can't confirm while a splice stands, and is sent again when it is gone."""
    court.begin(sim)
    splice = sim.splice_tx()
    court.tell_splice(splice)
    court.refuse_publishing(True)
    ours = court.force_close()
    assert ours is not None
    court.reorg(0, [splice])
    court.refuse_publishing(False)
    court.mine(2)
    assert not court.in_mempool(ours)
    court.reorg(3)
    court.mine()
    _bury(court)
    assert court.close_kind == "local"
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"


def breach_on_a_splice_told_late(court: Court, sim: SimulatedChannel) -> None:
    """The peer cheats on a new funding before the node tells which output of the splice it is."""
    court.begin(sim)
    court.tell(*sim.whole_move(100_000_000))
    splice = sim.splice_tx()
    court.tell_splice_txid(splice)
    court.broadcast(splice)
    court.mine()
    assert "splice_without_outpoint" in court.alarms()
    court.broadcast(after_splice(sim, splice).their_commitment_tx(0))
    court.mine()
    assert court.close_kind is None
    court.tell_splice(splice)
    assert "breach" in court.alarms()
    assert court.close_kind == "breach"
    assert court.contract_stages["revoked_to_local"] == "sweeping"
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"


def force_close_on_new_funding_keys(court: Court, sim: SimulatedChannel) -> None:
    """A splice brought new funding keys: with them its commitment and its anchor are signed."""
    court.begin(sim)
    splice = sim.splice_tx(funding_keys=1)
    there = after_splice(sim, splice, funding_keys=1)
    court.tell_splice(splice, there.funding_pubkeys)
    court.import_splice_key(there)
    court.broadcast(splice)
    court.mine()
    court.tell(ChannelUpdate(local_commitment=there.local_commitment()))
    ours = court.force_close()
    assert ours == there.local_commitment().txid
    assert court.in_mempool(ours)
    court.mine()
    _bury(court)
    assert court.close_kind == "local"
    assert ("anchor" in court.contract_stages) == sim.channel.anchors
    _resolve(court)
    assert court.state == "FULLY_RESOLVED"
    assert court.alarms() == set()


STORIES: tuple[Story, ...] = (
    cooperative_close,
    remote_force_close,
    remote_pending_force_close,
    local_force_close,
    asked_again,
    local_asked_remote_confirms,
    double_spend_then_theirs,
    double_spend_then_ours,
    refused_for_another_reason,
    refused_then_theirs,
    restarted_in_every_state,
    breach,
    breach_with_htlcs,
    cheater_moves_to_the_second_level,
    data_loss,
    unknown_spend,
    splice,
    late_splice,
    reorg_unconfirms_close,
    reorg_replaces_close,
    reorg_takes_back_a_sweep,
    goes_on_chain_by_itself,
    claims_before_the_expiry,
    htlcs_on_our_commitment,
    htlcs_on_their_commitment,
    peer_claims_from_our_commitment,
    peer_claims_from_its_commitment,
    preimage_comes_late,
    preimage_never_comes,
    late_and_doubled_updates,
    data_loss_after_a_force_close,
    splice_taken_back_under_a_force_close,
    force_close_on_new_funding_keys,
    breach_on_a_splice_told_late,
)
