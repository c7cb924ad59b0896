"""Scenarios of lnd's own tests that no story tells already; docs/law/lnd_scenarios.md lists all."""

from __future__ import annotations

from itertools import permutations

import pytest
from msgspec.structs import replace

from contractcourt.arbitrator import stakes
from contractcourt.arbitrator.depth import required_depth
from contractcourt.bitcoin.transaction import Transaction, TxIn
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, Direction
from contractcourt.effects import BumpCommitment
from contractcourt.policy import Policy
from contractcourt.units import Satoshi
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.test_bolt5_closes import BOTH_TYPES, LARGE_MSAT, begun
from workers.simulation.channel import SimulatedChannel
from workers.simulation.peer import Peer

_DUST_MSAT = 200_000


def failed(court: MemoryCourt) -> list[int]:
    return sorted(int(str(told["htlc_id"])) for told in court.told("htlc.failed"))


# -- arbitrator --


@BOTH_TYPES
@pytest.mark.parametrize("confirms", ["ours", "current", "pending"])
def test_dangling_commit_force_close(channel_type: str, confirms: str) -> None:
    """An HTLC stands on their pending commitment only: failed unless that one confirms."""
    court, sim = begun(f"dangling {confirms}", channel_type)
    current = sim.their_commitment_tx()
    dangling = sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 40)
    sim.move(0, dangling)
    court.tell(sim.propose())
    if confirms == "ours":
        court.force_close()
    else:
        court.broadcast(current if confirms == "current" else sim.their_commitment_tx())
    court.mine(8)
    assert failed(court) == ([] if confirms == "pending" else [1])
    court.mine(80)
    assert court.state == "FULLY_RESOLVED"
    assert failed(court) == [1]


@BOTH_TYPES
@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("claims", [False, True])
def test_an_htlc_that_the_peer_took_off_ours_and_claims_from_its_own(
    channel_type: str, claims: bool, asked: bool
) -> None:
    """It pretends to fail it, and closes by the commitment that it has not revoked."""
    court, sim = begun(f"pretended {claims}", channel_type)
    held = sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 40)
    court.tell(*sim.whole_move(0, held))
    sim.move(0)
    court.tell(sim.accept())
    if asked:
        court.force_close()
    court.reorg(0, [sim.their_commitment_tx(1)])
    court.mine(8)
    assert failed(court) == []
    if claims:
        court.reorg(0, [Peer(sim).second_level(1, 1, sim.preimage(1))])
        assert [told["htlc_id"] for told in court.told("htlc.fulfilled")] == [1]
    court.mine(80)
    assert court.state == "FULLY_RESOLVED"
    assert failed(court) == ([] if claims else [1])


@BOTH_TYPES
def test_force_close_breached_channel(channel_type: str) -> None:
    """We had published ours, then a breach confirmed while we were down."""
    court, sim = begun("breached meanwhile", channel_type)
    court.tell(*sim.whole_move(50_000_000))
    court.force_close()
    assert court.state == "COMMITMENT_BROADCASTED"
    court.restart()
    court.reorg(0, [sim.their_commitment_tx(0)])
    court.mine(12)
    assert (court.close_kind, court.state) == ("breach", "FULLY_RESOLVED")


@BOTH_TYPES
def test_pending_expired_htlc(channel_type: str) -> None:
    """It expired while we were down: one look later the channel goes on chain."""
    court, sim = begun("expired while down", channel_type)
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 10)))
    court.restart()
    court.jump(25)
    assert court.published_commitments == 1
    court.mine(30)
    assert court.state == "FULLY_RESOLVED"
    assert failed(court) == [1]


def commitment_of(*htlcs: tuple[Direction, int, int], known: tuple[int, ...] = ()) -> MemoryCourt:
    """A case whose commitment holds these HTLCs: (direction, msat, expiry)."""
    court, sim = begun("deadline and value", ANCHORS_ZERO_FEE_HTLC)
    held = [sim.htlc(n, *facts) for n, facts in enumerate(htlcs, 1)]
    court.tell(*sim.whole_move(0, *held))
    for number in known:
        court.tell_preimage(sim.preimage(number))
    return court


OFFERED, RECEIVED = Direction.OFFERED, Direction.RECEIVED


@pytest.mark.parametrize(
    ("court", "deadline", "stake_sat"),
    [
        (commitment_of(), None, 0),
        (commitment_of((OFFERED, LARGE_MSAT, 500)), 500 + 9, 40_000),
        (commitment_of((RECEIVED, LARGE_MSAT, 500)), None, 0),
        (commitment_of((RECEIVED, LARGE_MSAT, 500), known=(1,)), 500 - 8, 40_000),
        (commitment_of((OFFERED, _DUST_MSAT, 400), (OFFERED, LARGE_MSAT, 500)), 509, 40_000),
        (
            commitment_of((OFFERED, LARGE_MSAT, 500), (RECEIVED, LARGE_MSAT, 450), known=(2,)),
            450 - 8,
            80_000,
        ),
        (commitment_of((OFFERED, LARGE_MSAT, 500), (OFFERED, LARGE_MSAT, 480)), 489, 80_000),
    ],
    ids=["none", "offered", "received", "known", "dust", "both", "earliest"],
)
def test_find_commitment_deadline_and_value(
    court: MemoryCourt, deadline: int | None, stake_sat: int
) -> None:
    commitment = court.case.local_commitment
    assert commitment is not None
    assert stakes.commitment_deadline(court.case, commitment) == deadline
    calm = commitment.to_local_msat // 1000 * 5 // 100
    assert stakes.commitment_budget_sat(court.case, commitment) == max(calm, stake_sat // 2)
    generous = replace(court.case, policy=Policy(budget_percent=100))
    most = stakes.commitment_budget_sat(generous, commitment)
    assert most == max(calm, stake_sat)


def test_an_htlc_that_theirs_alone_holds_hurries_our_commitment() -> None:
    """Until ours is mined the peer may claim it, and upstream must not wait longer for its end."""
    court, sim = begun("dangling hurries", ANCHORS_ZERO_FEE_HTLC)
    expiry = court.height + 40
    sim.move(0, sim.htlc(1, OFFERED, LARGE_MSAT, expiry), sim.htlc(2, OFFERED, _DUST_MSAT, 10))
    court.tell(sim.propose())
    court.mine(40)
    bumps = [effect for effect in court.effects if isinstance(effect, BumpCommitment)]
    assert {bump.deadline for bump in bumps} == {expiry + 9}
    stake = stakes.hurrying_sat(court.case, bumps[0].commitment)
    assert stake == LARGE_MSAT // 1000


# -- chain watcher --


def _close(sim: SimulatedChannel, kind: str) -> Transaction:
    match kind:
        case "cooperative":
            return sim.cooperative_tx()
        case "local":
            return sim.our_commitment_tx()
        case "remote":
            return sim.their_commitment_tx()
        case _:
            return sim.their_commitment_tx(0)


KINDS = ("cooperative", "local", "remote", "breach")


@BOTH_TYPES
@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
def test_reorg_all_close_types(channel_type: str, first: str, second: str) -> None:
    """Every kind of close is taken back by a reorg, and any other may follow."""
    court, sim = begun(f"reorg {first} {second}", channel_type)
    court.tell(*sim.whole_move(50_000_000))
    court.reorg(0, [_close(sim, first)])
    court.mine(7)
    assert court.close_kind == first
    court.reorg(8, [_close(sim, second)])
    court.mine(40)
    assert (court.close_kind, court.state) == (second, "FULLY_RESOLVED")


@BOTH_TYPES
def test_multiple_and_rapid_reorgs(channel_type: str) -> None:
    court, sim = begun("rapid reorgs", channel_type)
    closes = [sim.their_commitment_tx(), sim.cooperative_tx()]
    for turn in range(6):
        court.reorg(1 if turn else 0, [closes[turn % 2]])
    court.mine(20)
    assert (court.close_kind, court.state) == ("cooperative", "FULLY_RESOLVED")
    told = [event["stage"] for event in court.told("channel.closing")]
    assert told[:3] == ["seen", "unseen", "seen"]


def test_reorg_no_alternative() -> None:
    """The close leaves the chain and nothing takes its place: the channel is open again."""
    court, sim = begun("no alternative", ANCHORS_ZERO_FEE_HTLC)
    court.reorg(0, [sim.their_commitment_tx()])
    court.mine(5)
    court.reorg(6)
    assert court.state == "DEFAULT"
    court.chain.mempool.clear()
    court.mine(30)
    assert court.state == "DEFAULT"


@pytest.mark.parametrize(
    ("capacity_sat", "depth"),
    [(20_000, 3), (8_388_607, 3), (14_000_000, 5), (16_777_215, 6), (10**9, 6)],
)
def test_scaled_confirmations(capacity_sat: int, depth: int) -> None:
    assert required_depth(Satoshi(capacity_sat)) == depth
    court = MemoryCourt()
    sim = SimulatedChannel(f"scaled {capacity_sat}", capacity_sat=capacity_sat, to_remote_msat=0)
    court.begin(sim)
    court.broadcast(sim.their_commitment_tx())
    court.mine(depth - 1)
    assert not court.case.closed
    court.mine(1)
    assert court.case.closed


# -- breach arbitrator --


@BOTH_TYPES
@pytest.mark.parametrize("order", list(permutations(("commitment", "first", "second"), 3)))
def test_breach_spends_in_every_order(channel_type: str, order: tuple[str, ...]) -> None:
    """Which HTLC the cheater takes before us, and when: each is punished where it went."""
    court, sim = begun(f"breach {'-'.join(order)}", channel_type)
    expiry = court.height + 200
    htlcs = [sim.htlc(n, Direction.OFFERED, LARGE_MSAT, expiry) for n in (1, 2)]
    court.tell(*sim.whole_move(0, *htlcs))
    court.tell(*sim.whole_move(1_000_000))
    court.reorg(0, [sim.their_commitment_tx(1)])
    moves = {"first": 1, "second": 2}
    for name in order:
        if name == "commitment":
            court.mine()  # what we have out by now is mined
            continue
        theft = Peer(sim).second_level(1, moves[name], sim.preimage(moves[name]))
        if court.chain.spender(theft.inputs[0].outpoint) is None:
            court.reorg(0, [theft])
    court.mine(20)
    assert court.state == "FULLY_RESOLVED"
    lost = [c for c in court.case.contracts if c.ours is False and c.kind != "anchor"]
    moved_to = {c.outpoint.txid for c in court.case.contracts}
    assert all(c.spend is not None and c.spend.txid in moved_to for c in lost)


# -- resolvers --


@BOTH_TYPES
def test_htlc_success_foreign_spend(channel_type: str) -> None:
    """The peer takes a received HTLC back at its expiry before our claim is mined."""
    court, sim = begun("foreign spend", channel_type)
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.RECEIVED, LARGE_MSAT, court.height + 30)))
    court.force_close()
    court.mine(32)
    theirs = Peer(sim).claim(1, 1)
    court.tell_preimage(sim.preimage(1))
    court.chain.mempool.clear()
    court.reorg(0, [theirs])
    court.mine(20)
    assert court.state == "FULLY_RESOLVED"
    [htlc] = [c for c in court.case.contracts if c.htlc is not None]
    assert htlc.ours is False


@BOTH_TYPES
@pytest.mark.parametrize("ours", [False, True])
def test_incoming_htlc_that_had_expired_before_the_close(channel_type: str, ours: bool) -> None:
    court, sim = begun(f"expired before {ours}", channel_type)
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.RECEIVED, LARGE_MSAT, court.height + 5)))
    court.mine(20)
    if ours:
        court.force_close()
    else:
        court.broadcast(sim.their_commitment_tx())
    court.mine(30)
    assert court.state == "FULLY_RESOLVED"
    assert court.contract_stages["received_htlc"] == "resolved"


@BOTH_TYPES
def test_a_wrong_preimage_fulfils_nothing(channel_type: str) -> None:
    court, sim = begun("wrong preimage", channel_type)
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 30)))
    court.force_close()
    court.mine(4)
    claim = Peer(sim).claim(1, 1, sim.preimage(1))
    witness = list(claim.inputs[0].witness)
    witness[-2] = bytes(32)
    spends = TxIn(claim.inputs[0].outpoint, b"", 1, tuple(witness))
    forged = Transaction(claim.version, (spends,), claim.outputs, claim.locktime)
    court.reorg(0, [forged])
    assert court.told("htlc.fulfilled") == []
