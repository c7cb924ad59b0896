"""Who took an output: the branch of its script tells, wherever the money went."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from contractcourt.bitcoin.script import p2wpkh, p2wsh
from contractcourt.bitcoin.transaction import Transaction, TxOut
from contractcourt.bolt3 import witness
from contractcourt.bolt3.commitment import htlc_script, to_local_script
from contractcourt.bolt3.keys import commitment_keys
from contractcourt.channel import Direction, Side
from contractcourt.contract import Contract, ContractKind
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.others import taken
from tests.scenarios.test_bolt5_closes import BOTH_TYPES, LARGE_MSAT, begun
from workers.simulation.channel import SimulatedChannel
from workers.simulation.peer import Peer

_SIGNATURE = b"\x30" * 71


def _closed(channel_type: str, direction: Direction, owner: Side) -> tuple[MemoryCourt, Peer]:
    """A commitment of `owner` that holds one HTLC is buried; with whom of the two may claim it."""
    court = MemoryCourt(restarts=True)
    sim = SimulatedChannel("whose spend", channel_type)
    court.begin(sim)
    htlc = sim.htlc(1, direction, LARGE_MSAT, court.height + 6)
    court.tell(*sim.whole_move(0, htlc))
    tx = sim.our_commitment_tx() if owner is Side.LOCAL else sim.their_commitment_tx()
    court.reorg(0, [tx])
    while court.height < htlc.cltv_expiry:
        court.reorg(0)
    return court, Peer(sim if owner is Side.LOCAL else sim.as_peer())


def _elsewhere(court: MemoryCourt, tx: Transaction) -> Transaction:
    """The same spend, paid to an address that the court was never told of."""
    script = bytes(p2wpkh(court.case.channel.local.funding_pubkey))
    return replace(tx, outputs=(replace(tx.outputs[0], script_pubkey=script),))


@BOTH_TYPES
def test_u2_our_timeout_to_an_address_that_was_not_told_is_failed_back(channel_type: str) -> None:
    """The node's own sweeper took it, with the key that is nobody else's."""
    court, us = _closed(channel_type, Direction.OFFERED, Side.REMOTE)
    court.reorg(0, [_elsewhere(court, us.claim(1, 1))])
    court.jump(20)
    assert [told["reason"] for told in court.told("htlc.failed")] == ["timed_out"]
    [told] = [t for t in court.told("contract.resolved") if t["contract"] == "offered_htlc"]
    assert told["ours"]


@BOTH_TYPES
@pytest.mark.parametrize("direction", list(Direction))
def test_what_the_peer_takes_stays_the_peers_though_it_pays_our_delayed_script(
    channel_type: str, direction: Direction
) -> None:
    """A gift of some satoshi makes no second-level transaction of the peer's claim."""
    court, peer = _closed(channel_type, direction, Side.LOCAL)
    [htlc] = [contract for contract in court.case.contracts if contract.htlc is not None]
    assert htlc.per_commitment_point is not None
    channel = court.case.channel
    keys = commitment_keys(channel, Side.LOCAL, htlc.per_commitment_point)
    gift = TxOut(330, p2wsh(to_local_script(channel, keys)))
    offered = direction is Direction.OFFERED
    claim = peer.claim(1, 1, SimulatedChannel("whose spend").preimage(1) if offered else None)
    court.reorg(0, [replace(claim, outputs=(gift, *claim.outputs))])
    court.jump(20)
    assert "second_level" not in court.contract_stages
    told = [t for t in court.told("contract.resolved") if t["contract"] == htlc.kind]
    assert not told[-1]["ours"]
    assert court.told("htlc.failed") == []
    assert len(court.told("htlc.fulfilled")) == offered


@BOTH_TYPES
def test_what_the_peer_takes_by_the_revocation_key_is_failed_back(channel_type: str) -> None:
    """An old copy of our node published it: punished, the peer can't claim the HTLC any more."""
    court, _ = _closed(channel_type, Direction.OFFERED, Side.LOCAL)
    htlc = _output(court, ContractKind.OFFERED_HTLC)
    assert htlc.per_commitment_point is not None
    assert htlc.htlc is not None
    channel = court.case.channel
    keys = commitment_keys(channel, Side.LOCAL, htlc.per_commitment_point)
    script = htlc_script(channel, keys, htlc.htlc)
    assert not _take(court, htlc, witness.revoked_htlc(_SIGNATURE, keys.revocation, script))
    [failed] = court.told("htlc.failed")
    assert (failed["htlc_id"], failed["reason"]) == (1, "not_on_confirmed_commitment")
    assert court.told("htlc.fulfilled") == []


@BOTH_TYPES
@pytest.mark.parametrize("owner", list(Side))
@pytest.mark.parametrize("later", [0, 3])
@pytest.mark.parametrize("claimed", [1, 2])
def test_of_two_equal_htlcs_each_ends_by_what_became_of_its_own_output(
    channel_type: str, owner: Side, later: int, claimed: int
) -> None:
    """Parts of one payment: the peer claims one, the other is taken back and its preimage known."""
    court, sim = begun(f"equal htlcs {later}", channel_type)
    first = sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 20)
    second = msgspec.structs.replace(first, id=2, cltv_expiry=first.cltv_expiry + later)
    court.tell(*sim.whole_move(0, first, second))
    ours = owner is Side.LOCAL
    court.reorg(0, [sim.our_commitment_tx() if ours else sim.their_commitment_tx()])
    court.mine(4)
    claim = Peer(sim).claim if ours else Peer(sim).second_level
    court.reorg(0, [claim(1, claimed, sim.preimage(1))])
    assert [told["htlc_id"] for told in court.told("htlc.fulfilled")] == [claimed]
    court.mine(60)
    assert court.state == "FULLY_RESOLVED"
    assert court.told("htlc.failed") == []
    assert [told["htlc_id"] for told in court.told("htlc.fulfilled")] == [claimed, 3 - claimed]
    won = [c.htlc.id for c in court.case.contracts if c.ours and c.htlc and c.spend]
    assert set(won) == {3 - claimed}


@BOTH_TYPES
def test_a_preimage_is_told_of_an_htlc_that_only_their_previous_commitment_holds(
    channel_type: str,
) -> None:
    """Both sides had signed it away as failed; the peer had not yet revoked."""
    court, sim = begun("removed htlc", channel_type)
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 40)))
    sim.move(0)
    court.tell(sim.propose(), sim.accept())
    court.reorg(0, [sim.their_commitment_tx(1)])
    court.mine(4)
    court.reorg(0, [Peer(sim).second_level(1, 1, sim.preimage(1))])
    court.mine(60)
    assert [told["htlc_id"] for told in court.told("htlc.fulfilled")] == [1]
    assert court.told("htlc.failed") == []
    assert (court.state, court.close_kind) == ("FULLY_RESOLVED", "remote")


def _output(court: MemoryCourt, kind: ContractKind) -> Contract:
    [found] = [contract for contract in court.case.contracts if contract.kind is kind]
    return found


def _take(court: MemoryCourt, contract: Contract, items: witness.Witness) -> bool:
    """It is spent with this witness to a script that is nobody's; whether it is told as ours."""
    tx = taken(contract.outpoint)
    court.reorg(0, [replace(tx, inputs=(replace(tx.inputs[0], witness=items),))])
    court.jump(10)
    told = [t for t in court.told("contract.resolved") if t["contract"] == contract.kind]
    return bool(told[-1]["ours"])


@BOTH_TYPES
@pytest.mark.parametrize("by_owner", [True, False])
def test_l1_whose_to_local_is_the_branch_tells(channel_type: str, by_owner: bool) -> None:
    """The node's own sweeper takes it to its wallet, or the peer by the revocation key."""
    court, sim = begun("whose to_local", channel_type)
    court.reorg(0, [sim.our_commitment_tx()])
    court.jump(10)
    to_local = _output(court, ContractKind.TO_LOCAL)
    branch = witness.delayed if by_owner else witness.revoked_delayed
    assert _take(court, to_local, branch(_SIGNATURE, to_local.script_pubkey)) is by_owner


@BOTH_TYPES
@pytest.mark.parametrize("by_owner", [True, False])
def test_p1_whose_a_cheaters_to_local_is_the_branch_tells(
    channel_type: str, by_owner: bool
) -> None:
    court, sim = begun("whose revoked to_local", channel_type)
    court.tell(*sim.whole_move(50_000_000))
    court.reorg(0, [sim.their_commitment_tx(0)])
    revoked = _output(court, ContractKind.REVOKED_TO_LOCAL)
    branch = witness.delayed if by_owner else witness.revoked_delayed
    assert _take(court, revoked, branch(_SIGNATURE, revoked.script_pubkey)) is not by_owner


@BOTH_TYPES
def test_r2_r3_to_remote_is_ours_whatever_it_pays(channel_type: str) -> None:
    court, sim = begun("whose to_remote", channel_type)
    court.reorg(0, [sim.their_commitment_tx()])
    court.jump(10)
    to_remote = _output(court, ContractKind.TO_REMOTE)
    assert _take(court, to_remote, (_SIGNATURE, bytes(to_remote.script_pubkey)))
