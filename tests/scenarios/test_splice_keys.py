"""A splice may bring new funding keys (`bolt5_rules.md` S2): all else of the channel stays."""

from __future__ import annotations

import pytest

from contractcourt.bitcoin.script import p2wsh
from contractcourt.bolt3.scripts import anchor
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC
from contractcourt.contract import ContractKind
from contractcourt.errors import CommitmentMismatch, InvalidSignature
from contractcourt.events import ChannelUpdate
from tests.model.world import after_splice
from tests.scenarios.test_bolt5_closes import BOTH_TYPES, begun
from workers.simulation.channel import SimulatedChannel


def _ours(sim: SimulatedChannel) -> ChannelUpdate:
    return ChannelUpdate(local_commitment=sim.local_commitment())


@BOTH_TYPES
def test_a_commitment_on_new_keys_is_refused_until_they_are_told(channel_type: str) -> None:
    court, sim = begun("keys told late", channel_type)
    splice = sim.splice_tx(funding_keys=1)
    there = after_splice(sim, splice, funding_keys=1)
    court.tell_splice(splice)
    with pytest.raises(InvalidSignature, match="funding_pubkey"):
        court.tell(_ours(there))
    court.reorg(0, [splice])
    assert court.alarms() == {"splice_with_other_keys"}
    with pytest.raises(InvalidSignature, match="funding_pubkey"):
        court.tell(_ours(there))
    court.tell_splice(splice, there.funding_pubkeys)
    court.tell(_ours(there))
    assert court.force_close() == there.local_commitment().txid


@BOTH_TYPES
def test_a_splice_whose_keys_are_known_is_no_alarm(channel_type: str) -> None:
    for name, keys in (("the same keys", 0), ("new keys", 1)):
        court, sim = begun(name, channel_type)
        splice = sim.splice_tx(funding_keys=keys)
        court.tell_splice(splice, after_splice(sim, splice, keys).funding_pubkeys)
        court.reorg(0, [splice])
        assert court.alarms() == set()


def test_the_anchors_of_a_close_pay_the_keys_of_the_funding_that_it_spends() -> None:
    court, sim = begun("anchors of new keys", ANCHORS_ZERO_FEE_HTLC)
    splice = sim.splice_tx(funding_keys=1)
    there = after_splice(sim, splice, funding_keys=1)
    assert there.funding_pubkeys is not None
    court.tell_splice(splice, there.funding_pubkeys)
    court.reorg(0, [splice])
    court.tell(_ours(there))
    court.reorg(0, [there.our_commitment_tx()])
    court.mine(2)
    assert court.close_kind == "local"
    (ours,) = (one for one in court.case.contracts if one.kind is ContractKind.ANCHOR)
    assert ours.script_pubkey == p2wsh(anchor(there.funding_pubkeys.local))
    assert "unknown_output" not in court.alarms()


@BOTH_TYPES
def test_p8_a_reorg_of_the_splice_brings_the_old_keys_back(channel_type: str) -> None:
    court, sim = begun("old keys again", channel_type)
    first = sim.splice_tx(funding_keys=1)
    between = after_splice(sim, first, funding_keys=1)
    second = between.splice_tx(funding_keys=2)
    last = after_splice(between, second, funding_keys=2)
    for splice, there in ((first, between), (second, last)):
        court.tell_splice(splice, there.funding_pubkeys)
        court.tell(_ours(there))
        court.reorg(0, [splice])
    assert court.case.channel.funding_pubkeys == last.funding_pubkeys
    court.reorg(1)
    assert court.case.channel.funding_pubkeys == between.funding_pubkeys
    court.reorg(3)
    assert court.case.channel == sim.channel
    court.reorg(0, [first, second])
    assert court.case.channel.funding_pubkeys == last.funding_pubkeys
    assert court.force_close() == last.local_commitment().txid


@BOTH_TYPES
@pytest.mark.parametrize("mined", [False, True])
def test_keys_that_a_commitment_was_checked_with_stay(channel_type: str, mined: bool) -> None:
    court, sim = begun("other keys later", channel_type)
    splice = sim.splice_tx(funding_keys=1)
    there, other = (after_splice(sim, splice, funding_keys=keys) for keys in (1, 2))
    court.tell_splice(splice, there.funding_pubkeys)
    court.tell(_ours(there))
    if mined:
        court.reorg(0, [splice])
    before = court.case
    with pytest.raises(CommitmentMismatch, match="other funding_pubkeys"):
        court.tell_splice(splice, other.funding_pubkeys)
    assert court.case == before
    court.tell_splice(splice, there.funding_pubkeys)
    court.tell_splice(splice)
    assert court.case == before


def test_keys_of_a_funding_that_was_spliced_away_are_taken_in() -> None:
    court, sim = begun("retired keys", ANCHORS_ZERO_FEE_HTLC)
    first = sim.splice_tx(funding_keys=1)
    between = after_splice(sim, first, funding_keys=1)
    second = between.splice_tx(funding_keys=2)
    last = after_splice(between, second, funding_keys=2)
    court.tell_splice(first)
    court.tell_splice(second, last.funding_pubkeys)
    court.reorg(0, [first, second])
    court.tell_splice(first, between.funding_pubkeys)
    assert court.case.channel.funding_pubkeys == last.funding_pubkeys
    assert court.case.retired_fundings[-1].funding_pubkeys == between.funding_pubkeys


@BOTH_TYPES
@pytest.mark.parametrize(("kind", "number"), [("remote", None), ("breach", 0)])
def test_a_close_by_the_peer_is_arbitrated_without_the_new_keys(
    channel_type: str, kind: str, number: int | None
) -> None:
    court, sim = begun("keys never told", channel_type)
    court.tell(*sim.whole_move(50_000_000))
    splice = sim.splice_tx(funding_keys=1)
    court.tell_splice(splice)
    court.reorg(0, [splice])
    there = after_splice(sim, splice, funding_keys=1)
    court.reorg(0, [there.their_commitment_tx(number)])
    court.mine(30)
    assert court.close_kind == kind
    main = "revoked_to_local" if kind == "breach" else "to_remote"
    assert court.contract_stages[main] == "resolved"
    # What may be an HTLC stays on the desk until the keys tell that it is an anchor.
    assert (court.state == "FULLY_RESOLVED") == (kind == "remote" or not sim.channel.anchors)
    court.tell_splice(splice, there.funding_pubkeys)
    court.mine(30)
    assert court.close_kind == kind
    assert court.state == "FULLY_RESOLVED"
    assert court.contract_stages[main] == "resolved"
