"""What users ask of sweeping, on the whole stack (users_ask L6, L7, L9, L15, L16, L17, B7, B8)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY, Direction
from contractcourt.units import Txid
from storage import sweep_progress, sweep_rounds
from storage.sweep_inputs import SweepState
from tests.scenarios.many_channels import ManyChannels
from tests.scenarios.stack import StackCourt
from workers.simulation.channel import SimulatedChannel
from workers.simulation.court import RunningCourt
from workers.simulation.peer import Peer

#: Satoshi for 1000 virtual bytes: twenty times what a commitment at the minimum pays.
_HIGH_FLOOR = 20_000


@pytest.fixture
def fair(court: RunningCourt) -> Iterator[RunningCourt]:
    """The court; the node's faults and floor are taken back afterwards."""
    yield court
    court.client.rpc("devnet_clear_faults")
    court.client.rpc("devnet_set_mempool_floor", None)


def channels_of(node: str, count: int, **facts: Any) -> list[SimulatedChannel]:
    return [SimulatedChannel(f"{node} {n}", node=node, **facts) for n in range(count)]


def test_l6_who_cannot_be_signed_holds_up_nobody(fair: RunningCourt) -> None:
    many = ManyChannels(fair, channels_of("l6", 64))
    bad = many.sims[3], many.sims[8], many.sims[40]

    def keys(sim: SimulatedChannel) -> dict[str, str]:
        other = SimulatedChannel("somebody else", node="l6").funded(sim.channel.channel_point)
        return (other if sim in bad else sim).key_document()

    many.open(keys)
    many.broadcast(*(sim.their_commitment_tx() for sim in many.sims))
    many.mine(3)
    many.mine(2)
    for sim in many.sims:
        if sim in bad:
            continue
        assert many.confirmed(sim), sim.seed
    # Few transactions, for they were batched.
    assert len({txid for sim in many.sims for txid in many.confirmed(sim)}) <= 16
    for sim in bad:
        [held] = [one for one in many.sweeps(sim) if one.state is not SweepState.DROPPED]
        assert held.state is SweepState.QUARANTINED
        assert "wrong key" in (held.reason or "")
        assert "quarantined" in many.alarms(sim)
    # Released it is tried again, and, nothing being mended, set aside again.
    [first] = [one for one in many.sweeps(bad[0]) if one.state is SweepState.QUARANTINED]
    with many.client.db.transaction() as conn:
        assert sweep_progress.release(conn, first.outpoint) == "l6"
        sweep_rounds.ask(conn, ["l6"])
    many.mine(1)
    assert many.sweeps(bad[0])[0].state is SweepState.QUARANTINED


def test_b7_a_commitment_below_the_floor_enters_with_its_child(fair: RunningCourt) -> None:
    sim = SimulatedChannel("b7", node="b7", feerate_per_kw=253)
    many = ManyChannels(fair, [sim])
    many.open()
    many.client.rpc("devnet_set_mempool_floor", _HIGH_FLOOR)
    closing = many.client.force_close(str(sim.channel.channel_point), "b7")["closing_txid"]
    many.client.wait_until(
        lambda: closing in many.client.rpc("getrawmempool"), "the commitment with its child"
    )
    case = many.client.channel(str(sim.channel.channel_point))
    [child] = [b for b in case["broadcasts"] if b["purpose"] == "bump"]
    assert child["txid"] in many.client.rpc("getrawmempool")
    assert child["feerate_per_kw"] >= _HIGH_FLOOR // 4
    many.mine(1)
    # L9: once the parent is mined, its child is mined with it and no other is made.
    many.mine(20)
    assert many.state(sim) == "FULLY_RESOLVED"
    case = many.client.channel(str(sim.channel.channel_point))
    assert [b["state"] for b in case["broadcasts"] if b["purpose"] == "bump"] == ["confirmed"]


def test_l9_no_child_is_made_for_a_commitment_that_pays_enough(fair: RunningCourt) -> None:
    sim = SimulatedChannel("l9", node="l9", feerate_per_kw=2_000)
    many = ManyChannels(fair, [sim])
    many.open()
    many.client.force_close(str(sim.channel.channel_point), "l9")
    many.client.wait_quiet()
    [bump] = many.sweeps(sim)
    assert bump.reason == "our commitment pays enough by itself"
    many.mine(30)
    assert many.state(sim) == "FULLY_RESOLVED"
    case = many.client.channel(str(sim.channel.channel_point))
    assert {b["purpose"] for b in case["broadcasts"]} == {"commitment", "sweep"}


def test_a_fee_spike_is_outbid(fair: RunningCourt) -> None:
    """The floor rises over what is out already: the child is replaced, and again."""
    sim = SimulatedChannel("spike", node="spike", feerate_per_kw=253)
    many = ManyChannels(fair, [sim])
    many.open()
    many.client.rpc("devnet_set_mempool_floor", 5_000)
    many.client.force_close(str(sim.channel.channel_point), "spike")
    many.client.wait_quiet()
    for floor in (10_000, 30_000):
        many.client.rpc("devnet_set_mempool_floor", floor)
        many.client.rpc("devnet_clear_mempool")
        many.mine(1)

    def rates() -> list[int]:
        case = many.client.channel(str(sim.channel.channel_point))
        return [b["feerate_per_kw"] for b in case["broadcasts"] if b["purpose"] == "bump"]

    many.client.wait_until(lambda: rates()[-1] >= 30_000 // 4, "a child at the floor of now")
    assert rates() == sorted(rates())
    many.mine(25)
    assert many.state(sim) == "FULLY_RESOLVED"


def breached(
    fair: RunningCourt, node: str, *amounts_msat: int, **facts: Any
) -> tuple[ManyChannels, SimulatedChannel]:
    """A channel whose revoked commitment 1 holds HTLCs that we offered."""
    sim = SimulatedChannel(node, node=node, **facts)
    many = ManyChannels(fair, [sim])
    many.open()
    expiry = many.client.height() + 400
    htlcs = [sim.htlc(n, Direction.OFFERED, msat, expiry) for n, msat in enumerate(amounts_msat, 1)]
    many.tell(sim, *sim.whole_move(0, *htlcs))
    many.tell(sim, *sim.whole_move(-10_000_000))
    many.client.wait_quiet()
    return many, sim


def test_l7_l16_a_cheater_that_takes_one_of_a_batch_is_punished_and_delays_nobody(
    fair: RunningCourt,
) -> None:
    many, sim = breached(fair, "l16", 40_000_000, 30_000_000, channel_type=ANCHORS_ZERO_FEE_HTLC)
    cheat = sim.their_commitment_tx(1)
    many.mine_only(cheat)
    many.client.wait_until(lambda: bool(many.sweeps(sim)), "justice")
    assert "breach" in many.alarms(sim)
    stolen = as_success(sim, 1)
    many.mine_only(stolen)
    # In the same block the rest goes out again, and what moved is punished at its new place.
    many.mine(2)
    taken = {
        i.outpoint
        for txid in many.confirmed(sim)
        for i in Transaction.parse(bytes.fromhex(many.client.rpc("getrawtransaction", txid))).inputs
    }
    assert stolen.txid() in {outpoint.txid for outpoint in taken}
    assert len(taken) >= 3
    many.mine(12)
    assert many.state(sim) == "FULLY_RESOLVED"
    case = many.client.channel(str(sim.channel.channel_point))
    lost = [c for c in case["contracts"] if c["ours"] is False and c["kind"] != "anchor"]
    assert {c["kind"] for c in lost} <= {"revoked_htlc"}


def test_l7_what_cannot_afford_the_better_offer_is_swept_by_itself_in_the_same_block(
    fair: RunningCourt,
) -> None:
    """Every block offers more, until the small HTLC can't pay its part of it."""
    many, sim = breached(fair, "left-out", 3_000_000)
    many.mine_only(sim.their_commitment_tx(1))
    together = []
    for _ in range(3):
        wanted = {one.outpoint for one in many.sweeps(sim) if one.wish.effect.deadline is not None}
        swept = [set(one.inputs) & wanted for one in many.out(sim)]
        assert set().union(*swept) == wanted
        together.append(max(len(of_one) for of_one in swept))
        many.client.rpc("devnet_clear_mempool")
        many.mine_only()
    # Else nothing was left out, and this test has shown nothing.
    assert together[0] == 2
    assert together[-1] == 1


def test_l16_without_keys_justice_alarms_at_once_and_is_done_when_they_come(
    fair: RunningCourt,
) -> None:
    sim = SimulatedChannel("l16 no keys", node="l16-no-keys")
    many = ManyChannels(fair, [sim])
    stranger = SimulatedChannel("l16 stranger", node="l16-no-keys")
    stranger.funded(OutPoint.of(Txid(b"\x16" * 32), 0))
    many.open(lambda _: stranger.key_document())
    many.tell(sim, *sim.whole_move(100_000_000))
    many.client.wait_quiet()
    many.mine_only(sim.their_commitment_tx(0))
    case = many.client.channel(str(sim.channel.channel_point))
    [alarm] = [a for a in case["alarms"] if a["kind"] == "not_signed"]
    amounts = [c["value_sat"] for c in case["contracts"]]
    assert any(f"{amount} sat" in alarm["message"] for amount in amounts)
    many.client.import_keys(sim.key_document())
    many.mine(9)
    assert many.state(sim) == "FULLY_RESOLVED"
    assert "not_signed" not in many.alarms(sim)


def as_success(sim: SimulatedChannel, htlc_id: int) -> Transaction:
    """The cheater's HTLC-success on its revoked commitment 1."""
    return Peer(sim).second_level(1, htlc_id, sim.preimage(htlc_id))


def test_l17_with_an_htlc_pinned_the_main_output_is_taken(fair: RunningCourt) -> None:
    """The cheater's HTLC transaction pays more than the HTLC is worth to us, and is never mined."""
    many, sim = breached(
        fair, "l17", 5_500_000, channel_type=STATIC_REMOTEKEY, feerate_per_kw=5_000
    )
    many.mine_only(sim.their_commitment_tx(1))
    pin = as_success(sim, 1)
    many.client.rpc("devnet_clear_mempool")
    many.broadcast(pin)
    many.client.rpc("devnet_mine", 1, [], False)
    many.client.wait_quiet()

    point = str(sim.channel.channel_point)
    contracts = many.client.channel(point)["contracts"]
    main = next(c["outpoint"] for c in contracts if c["kind"] == "revoked_to_local")

    def justice() -> list[Transaction]:
        """For the main output, in the mempool."""
        pending = many.client.rpc("getrawmempool")
        sent = [b for b in many.client.channel(point)["broadcasts"] if b["txid"] in pending]
        txs = [Transaction.parse(bytes.fromhex(b["tx"])) for b in sent]
        return [tx for tx in txs if main in {str(i.outpoint) for i in tx.inputs}]

    many.client.wait_until(lambda: bool(justice()), "justice for the main output alone")
    assert str(pin.txid()) in many.client.rpc("getrawmempool")
    many.mine_only(*justice())
    stages = {c["kind"]: c["stage"] for c in many.client.channel(point)["contracts"]}
    assert stages["revoked_to_local"] == "spent"
    assert stages["revoked_htlc"] == "sweeping"
    many.mine(15)
    assert many.state(sim) == "FULLY_RESOLVED"


def test_l15_a_preimage_in_the_mempool_is_told_at_once(fair: RunningCourt) -> None:
    stack = StackCourt(fair)
    sim = SimulatedChannel("l15", ANCHORS_ZERO_FEE_HTLC)
    stack.begin(sim)
    offered = sim.htlc(1, Direction.OFFERED, 40_000_000, stack.height + 40)
    stack.tell(*sim.whole_move(0, offered))
    stack.force_close()
    stack.mine(4)
    stack.broadcast(Peer(sim).claim(1, 1, sim.preimage(1)))
    fair.client.wait_until(lambda: bool(stack.told("htlc.fulfilled")), "the preimage to be told")
    [fulfilled] = stack.told("htlc.fulfilled")
    assert fulfilled["preimage"] == str(sim.preimage(1))
    # It leaves the mempool, and what was learned stays.
    fair.client.rpc("devnet_clear_mempool")
    stack.mine(45)
    assert len(stack.told("htlc.fulfilled")) == 1
    assert stack.told("htlc.failed") == []
    stack.mine(20)
    assert stack.state == "FULLY_RESOLVED"


_TAKEN, _REFUSED = None, {"code": -26, "message": "scriptsig-not-pushonly"}


@pytest.mark.parametrize(
    ("test", "send", "ends"),
    [
        (_TAKEN, _TAKEN, "confirmed"),
        (_REFUSED, _TAKEN, "confirmed"),
        (_TAKEN, _REFUSED, "confirmed"),
        (_REFUSED, _REFUSED, "quarantined"),
    ],
)
def test_b8_the_test_and_the_sending_may_disagree(
    fair: RunningCourt, test: dict[str, Any] | None, send: dict[str, Any] | None, ends: str
) -> None:
    name = f"b8-{bool(test)}-{bool(send)}"
    sim = SimulatedChannel(name, node=name)
    many = ManyChannels(fair, [sim])
    many.open()
    many.broadcast(sim.their_commitment_tx())
    many.mine(2)
    for method, refusal in (("testmempoolaccept", test), ("sendrawtransaction", send)):
        if refusal is not None:
            many.client.rpc("devnet_set_fault", method, 1, refusal)
    many.mine(1)
    many.mine(3)
    if ends == "quarantined":
        [held] = many.sweeps(sim)
        assert held.state is SweepState.QUARANTINED
        assert held.reason == _REFUSED["message"]
        return
    assert len(many.confirmed(sim)) == 1
    assert all(held.state is not SweepState.QUARANTINED for held in many.sweeps(sim))
