"""Our HTLC transactions: whichever commitment of ours confirms, and however often it is told."""

from __future__ import annotations

from copy import copy
from itertools import permutations

import msgspec
import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.channel import STATIC_REMOTEKEY, Direction
from contractcourt.contract import ContractKind
from contractcourt.effects import PublishHtlcTransaction
from contractcourt.errors import InvalidSignature
from contractcourt.events import ChannelUpdate
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.test_bolt5_closes import BOTH_TYPES, begun
from workers.simulation.balances import Balances
from workers.simulation.channel import SimulatedChannel

_LARGE_MSAT = 40_000_000


def _spliced(sim: SimulatedChannel, splice: Transaction) -> SimulatedChannel:
    """The same channel on its new funding, whose fee we paid."""
    fee_msat = (sim.capacity_sat - splice.outputs[0].value) * 1000
    spliced = copy(sim)
    spliced.funding_outpoint = OutPoint.of(splice.txid(), 0)
    spliced.capacity_sat = splice.outputs[0].value
    spliced.history = [
        Balances(then.to_local_msat - fee_msat, then.to_remote_msat, then.htlcs)
        for then in sim.history
    ]
    return spliced


@BOTH_TYPES
@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("order", [*permutations(range(4))], ids=str)
@pytest.mark.parametrize("signer_away", [False, True])
def test_h2_h3_equal_parts_of_a_payment_may_be_told_in_any_order(
    channel_type: str, direction: Direction, order: tuple[int, ...], signer_away: bool
) -> None:
    """Each is claimed with the signature that the peer made for its own output.

    While the signer is away, our point is not known until the close asks for it.
    """
    court, sim = begun("equal parts", channel_type)
    part = sim.htlc(1, direction, _LARGE_MSAT, court.height + 30)
    equal = [msgspec.structs.replace(part, id=number) for number in (1, 2, 3)]
    sim.move(0, *equal, sim.htlc(4, direction, 2 * _LARGE_MSAT, court.height + 30))
    ours = sim.local_commitment()
    told = msgspec.structs.replace(ours, htlcs=tuple(ours.htlcs[place] for place in order))
    if signer_away:
        told = msgspec.structs.replace(told, per_commitment_point=None)
    court.tell(sim.propose(), sim.revoke())
    court.tell(ChannelUpdate(local_commitment=told))
    court.broadcast(sim.our_commitment_tx())
    court.mine(8)
    claimed = [c.htlc for c in court.case.contracts if c.htlc is not None]
    assert [c.remote_signature for c in claimed] == [c.remote_signature for c in ours.htlcs]
    assert {c.id for c in claimed} == {1, 2, 3, 4}


def test_a_signature_for_the_output_of_another_part_twice_is_refused() -> None:
    court, sim = begun("one signature twice", STATIC_REMOTEKEY)
    part = sim.htlc(1, Direction.OFFERED, _LARGE_MSAT, court.height + 30)
    sim.move(0, part, msgspec.structs.replace(part, id=2))
    ours = sim.local_commitment()
    first, second = ours.htlcs
    twice = msgspec.structs.replace(second, remote_signature=first.remote_signature)
    wrong = msgspec.structs.replace(ours, htlcs=(first, twice))
    with pytest.raises(InvalidSignature, match="does not verify"):
        court.tell(ChannelUpdate(local_commitment=wrong))


def test_p3_what_was_decided_before_a_splice_that_a_reorg_took_back_is_claimed_from() -> None:
    court = MemoryCourt(restarts=True)
    sim = SimulatedChannel("decided before a splice", STATIC_REMOTEKEY)
    court.begin(sim)
    offered = sim.htlc(1, Direction.OFFERED, _LARGE_MSAT, court.height + 30)
    court.tell(*sim.whole_move(0, offered))
    splice = sim.splice_tx()
    court.tell_splice(splice)
    court.tell(ChannelUpdate(local_commitment=_spliced(sim, splice).local_commitment()))
    court.refuse_publishing(True)
    decided = sim.our_commitment_tx()
    assert court.force_close() == decided.txid()
    # The node had accepted one more when it heard of the close.
    sim.move(1, offered)
    on_new = ChannelUpdate(local_commitment=_spliced(sim, splice).local_commitment())
    court.tell(sim.propose(), sim.revoke(), sim.accept(), on_new)
    court.reorg(0, [splice])
    sim.move(1, offered)
    spliced = _spliced(sim, splice)
    court.tell(spliced.propose(), spliced.revoke(), spliced.accept())
    # It was sent once, so it may confirm.
    court.reorg(1, [decided])
    court.refuse_publishing(False)
    court.mine(46)
    assert court.case.funding_spend is not None
    assert court.case.funding_spend.txid == decided.txid()
    assert any(isinstance(effect, PublishHtlcTransaction) for effect in court.effects)
    assert court.contract_stages["second_level"] == "resolved"
    assert "htlc_unsigned" not in court.alarms()


@BOTH_TYPES
@pytest.mark.parametrize("mined", [False, True])
def test_what_was_told_without_our_point_is_taken_as_it_is_told_with_it(
    channel_type: str, mined: bool
) -> None:
    """While the signer is away nothing of it can be checked: signatures may be missing."""
    court, sim = begun("told without our point", channel_type)
    sim.move(0, sim.htlc(1, Direction.OFFERED, _LARGE_MSAT, court.height + 40))
    right = sim.local_commitment()
    bare = tuple(msgspec.structs.replace(htlc, remote_signature=None) for htlc in right.htlcs)
    wrong = msgspec.structs.replace(right, per_commitment_point=None, htlcs=bare)
    court.tell(sim.propose(), sim.revoke(), ChannelUpdate(local_commitment=wrong))
    court.force_close()
    if mined:
        court.mine(5)
        assert court.close_kind == "local"
    court.tell(ChannelUpdate(local_commitment=right))
    court.mine(120)
    [held] = [c for c in court.case.contracts if c.kind is ContractKind.OFFERED_HTLC]
    assert held.htlc == right.htlcs[0]
    assert court.case.previous_local_commitment == sim.local_commitment(0)
    assert [told["reason"] for told in court.told("htlc.failed")] == ["timed_out"]
    assert (court.state, court.published_commitments) == ("FULLY_RESOLVED", 1)
    assert court.alarms() == set()
