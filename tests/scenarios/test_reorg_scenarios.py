"""Closes and spends that a reorganisation takes back, at every depth, once and again."""

from __future__ import annotations

import pytest

from contractcourt.bitcoin.transaction import Transaction
from contractcourt.channel import STATIC_REMOTEKEY, Direction, Htlc
from contractcourt.contract import ContractKind
from contractcourt.events import SpendUnconfirmed
from contractcourt.units import BlockHeight
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.test_bolt5_closes import BOTH_TYPES, LARGE_MSAT, begun
from workers.simulation.channel import SimulatedChannel

KINDS = ("cooperative", "local", "remote", "breach")
#: Capacity whose closes need six blocks, lnd's most.
_LARGE_SAT = 16_777_215


def close(sim: SimulatedChannel, kind: str) -> Transaction:
    """A transaction that closes the channel in this way; breach needs a second commitment."""
    match kind:
        case "cooperative":
            return sim.cooperative_tx()
        case "local":
            return sim.our_commitment_tx()
        case "remote":
            return sim.their_commitment_tx()
        case _:
            return sim.their_commitment_tx(0)


def stages_told(court: MemoryCourt) -> list[object]:
    return [told["stage"] for told in court.told("channel.closing")]


@BOTH_TYPES
@pytest.mark.parametrize("kind", KINDS)
def test_early_dispatch(channel_type: str, kind: str) -> None:
    """Told in the first block, once; told again after a reorg; closed only when it is final."""
    court, sim = begun(f"early {kind}", channel_type)
    court.tell(*sim.whole_move(50_000_000))
    court.reorg(0, [close(sim, kind)])
    seen, *final = court.told("channel.closing")
    assert [told["stage"] for told in final] == (["final"] if kind == "breach" else [])
    assert (seen["stage"], seen["kind"], seen["height"]) == ("seen", kind, court.height)
    assert seen["required_depth"] == (1 if kind == "breach" else 3)
    assert court.closed_in_database == (kind == "breach")
    court.mine()
    at_once = ["final"] if kind == "breach" else []
    assert stages_told(court) == ["seen", *at_once]
    court.reorg(2, [close(sim, kind)])
    assert stages_told(court)[: len(at_once) + 3] == ["seen", *at_once, "unseen", "seen"]
    court.mine(30)
    assert (court.close_kind, court.state) == (kind, "FULLY_RESOLVED")
    assert stages_told(court) == ["seen", *at_once, "unseen", "seen", "final"]


@BOTH_TYPES
@pytest.mark.parametrize("kind", KINDS)
def test_same_transaction_after_reorg(channel_type: str, kind: str) -> None:
    """Final, taken back, and mined again by the same transaction: resolved as if once."""
    court, sim = begun(f"same {kind}", channel_type)
    court.tell(*sim.whole_move(50_000_000))
    court.reorg(0, [close(sim, kind)])
    court.mine(4)
    assert court.closed_in_database
    court.reorg(5)
    assert (court.state, court.closed_in_database) == ("DEFAULT", False)
    assert court.contract_stages == {}
    court.reorg(0, [close(sim, kind)])
    court.mine(30)
    assert (court.close_kind, court.state) == (kind, "FULLY_RESOLVED")
    assert [told["kind"] for told in court.told("channel.closed")] == [kind, kind]


@BOTH_TYPES
@pytest.mark.parametrize("depth", [6, 60, 101])
def test_breach_close_with_deep_reorg(channel_type: str, depth: int) -> None:
    """A breach that was answered and resolved leaves the chain; the peer then closes fairly."""
    court, sim = begun(f"deep {depth}", channel_type)
    court.tell(*sim.whole_move(50_000_000))
    court.reorg(0, [sim.their_commitment_tx(0)])
    court.mine(depth - 1)
    resolved = "WAITING_FULL_RESOLUTION" if depth == 6 else "FULLY_RESOLVED"
    assert (court.close_kind, court.state) == ("breach", resolved)
    court.reorg(depth, [sim.their_commitment_tx()])
    assert court.close_kind == "remote"
    court.mine(20)
    assert court.state == "FULLY_RESOLVED"
    assert court.contract_stages == {"to_remote": "resolved"}


@BOTH_TYPES
def test_local_force_close_with_multiple_reorgs(channel_type: str) -> None:
    """Each time ours leaves the chain the case waits for it again; it is one and the same."""
    court, sim = begun("local, reorgs", channel_type)
    court.force_close()
    for depth in (1, 3, 5):
        court.reorg(0, [sim.our_commitment_tx()])
        court.mine(depth - 1)
        court.reorg(depth)
        assert (court.state, court.closed_in_database) == ("COMMITMENT_BROADCASTED", False)
        assert court.is_watched(sim.channel.funding_outpoint)
    court.mine(40)
    assert (court.close_kind, court.state) == ("local", "FULLY_RESOLVED")
    assert court.published_commitments == 1
    assert stages_told(court) == [
        "requested",
        *("seen", "unseen"),  # one block deep, which is not final
        *("seen", "final", "unseen") * 2,
        *("seen", "final"),
    ]


def test_scaled_confirmations_are_counted_anew_after_a_reorg() -> None:
    """Five of six blocks deep, taken back, mined again: six blocks from there."""
    court = MemoryCourt()
    sim = SimulatedChannel("scaled, reorg", STATIC_REMOTEKEY, capacity_sat=_LARGE_SAT)
    court.begin(sim)
    court.reorg(0, [sim.their_commitment_tx()])
    court.mine(4)
    assert not court.case.closed
    court.reorg(5)
    court.reorg(0, [sim.their_commitment_tx()])
    court.mine(4)
    assert not court.case.closed
    court.mine()
    assert court.case.closed


@BOTH_TYPES
@pytest.mark.parametrize("depth", [1, 4])
def test_w5_a_second_level_that_is_undone_is_made_again(channel_type: str, depth: int) -> None:
    court, sim = begun(f"second level, reorg {depth}", channel_type)
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 10)))
    court.force_close()
    while "second_level" not in court.contract_stages:
        assert court.height < 130
        court.mine()
    court.mine(depth - 1)
    [moved] = [c for c in court.case.contracts if c.kind is ContractKind.SECOND_LEVEL]
    court.reorg(depth)
    assert "second_level" not in court.contract_stages
    assert not court.is_watched(moved.outpoint)
    assert court.told("htlc.failed") == []
    court.mine(40)
    assert court.state == "FULLY_RESOLVED"
    assert court.contract_stages["second_level"] == "resolved"
    assert [told["htlc_id"] for told in court.told("htlc.failed")] == [1]


def closed_while_an_htlc_was_due(
    name: str, channel_type: str, blocks: int
) -> tuple[MemoryCourt, Htlc]:
    """The peer closes a block before our HTLC is due, and a reorg takes that back for good."""
    court, sim = begun(name, channel_type)
    htlc = sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 20)
    court.tell(*sim.whole_move(0, htlc))
    while court.height < htlc.cltv_expiry - 2:
        court.mine()
    court.refuse_publishing(True)
    court.reorg(0, [sim.their_commitment_tx()])
    court.mine(blocks)
    assert court.closed_in_database
    court.refuse_publishing(False)
    court.reorg(blocks + 1)
    assert not court.closed_in_database
    return court, htlc


@BOTH_TYPES
@pytest.mark.parametrize("blocks", [2, 14])
def test_p8_what_was_due_while_the_channel_was_closed_is_done_when_it_is_open_again(
    channel_type: str, blocks: int
) -> None:
    court, htlc = closed_while_an_htlc_was_due("due meanwhile", channel_type, blocks)
    assert court.height >= htlc.cltv_expiry
    court.mine()
    assert court.published_commitments == 1


@BOTH_TYPES
def test_p8_an_htlc_told_while_a_splice_looked_like_a_close_is_due_at_its_expiry(
    channel_type: str,
) -> None:
    court, sim = begun("told meanwhile", channel_type)
    splice = sim.splice_tx()
    court.reorg(0, [splice])
    court.mine(3)
    assert court.closed_in_database
    htlc = sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 20)
    court.tell(*sim.whole_move(0, htlc))
    court.tell_splice(splice)
    assert court.state == "DEFAULT"
    while court.height < htlc.cltv_expiry:
        court.mine()
    assert court.case.best_height >= htlc.cltv_expiry


@BOTH_TYPES
def test_p8_a_reorg_that_takes_a_close_back_takes_its_blocks_back_too(channel_type: str) -> None:
    """Nothing is due by the height of blocks that are no more."""
    court, sim = begun("lower", channel_type)
    court.reorg(0, [sim.their_commitment_tx()])
    mined = court.chain.blocks[-1]
    court.hear(
        SpendUnconfirmed(
            sim.funding_outpoint,
            sim.their_commitment_tx().txid(),
            mined.hash,
            BlockHeight(mined.height - 1),
        )
    )
    assert court.case.best_height == mined.height - 1
