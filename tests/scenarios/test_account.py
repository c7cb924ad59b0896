"""The account of a channel adds up to the satoshi, in every state and for every kind of close."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contractcourt.account import Account, Winner, account_of
from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction, TxIn, TxOut
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY, Direction
from contractcourt.contract import Contract, ContractKind
from contractcourt.effects import CloseKind
from contractcourt.errors import LawError
from contractcourt.node_account import add_up
from contractcourt.units import Satoshi
from tests.scenarios.memory import MemoryCourt
from tests.scenarios.test_any_order import _ACTIONS
from workers.simulation.channel import SimulatedChannel
from workers.simulation.peer import Peer

BOTH_TYPES = pytest.mark.parametrize("channel_type", [STATIC_REMOTEKEY, ANCHORS_ZERO_FEE_HTLC])
LARGE_MSAT = 40_000_000


def account(court: MemoryCourt) -> Account:
    """With the fees of our sweeps, each of which spends one output and pays from it."""
    fees: dict[OutPoint, Satoshi] = {}
    for block in court.chain.blocks:
        for tx in block.transactions:
            for contract in court.case.contracts:
                if contract.outpoint == tx.inputs[0].outpoint and contract.ours:
                    paid = contract.value_sat - sum(output.value for output in tx.outputs)
                    fees[contract.outpoint] = Satoshi(max(0, paid))
    return account_of(court.case, fees)


def assert_adds_up(told: Account) -> None:
    parts = told.won_sat + told.lost_sat + told.given_up_sat + told.open_sat + told.agreed_sat
    assert parts + told.closing_fee_sat == told.capacity_sat
    paid_out = sum(line.value_sat for line in told.lines)
    assert paid_out in (0, told.capacity_sat - told.closing_fee_sat)
    assert told.net_sat == told.won_sat - told.fees_sat
    for line in told.lines:
        assert 0 <= line.won_sat <= line.value_sat
        assert (line.won_sat > 0) <= (line.winner is Winner.US)


def begun(name: str, channel_type: str) -> tuple[MemoryCourt, SimulatedChannel]:
    court = MemoryCourt()
    sim = SimulatedChannel(name, channel_type)
    court.begin(sim)
    return court, sim


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from([STATIC_REMOTEKEY, ANCHORS_ZERO_FEE_HTLC]),
    st.lists(st.sampled_from(sorted(_ACTIONS)), max_size=12),
)
def test_l25_it_adds_up_after_every_event(channel_type: str, plan: list[str]) -> None:
    court, sim = begun("account", channel_type)
    for name in plan:
        with suppress(LawError):
            _ACTIONS[name](court, sim)
        assert_adds_up(account(court))
    court.mine(150)
    told = account(court)
    assert_adds_up(told)
    if told.final:
        assert told.open_sat == 0


@BOTH_TYPES
def test_l25_our_commitment_with_htlcs(channel_type: str) -> None:
    court, sim = begun("account local", channel_type)
    timed_out = sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 20)
    claimed = sim.htlc(2, Direction.RECEIVED, LARGE_MSAT, court.height + 60)
    lost = sim.htlc(3, Direction.OFFERED, LARGE_MSAT, court.height + 50)
    court.tell(*sim.whole_move(0, timed_out, claimed, lost))
    court.tell_preimage(sim.preimage(2))
    court.force_close()
    assert account(court).open_sat == sim.capacity_sat
    court.mine(4)
    court.reorg(0, [Peer(sim).claim(1, 3, sim.preimage(3))])
    court.mine(120)
    told = account(court)
    assert told.final
    assert told.close_kind is CloseKind.LOCAL
    htlcs = [line for line in told.lines if line.value_sat == LARGE_MSAT // 1000]
    assert sorted(line.winner for line in htlcs) == [Winner.PEER, Winner.US, Winner.US]
    assert all(line.second_level_txid for line in htlcs if line.winner is Winner.US)
    assert told.promise is not None
    assert told.promise.offered_sat == 80_000
    assert told.promise.received_sat == 40_000
    # The opener pays for the commitment; what it promised is won but for that.
    main = next(line for line in told.lines if line.kind == "to_local")
    cost = told.closing_fee_sat + (660 if sim.channel.anchors else 0)
    assert main.won_sat + cost == told.promise.balance_sat
    assert told.fees_sat > told.closing_fee_sat


@BOTH_TYPES
def test_l25_a_breach_wins_what_was_the_cheaters(channel_type: str) -> None:
    court, sim = begun("account breach", channel_type)
    held = sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 80)
    court.tell(*sim.whole_move(0, held))
    court.tell(*sim.whole_move(100_000_000))
    cheat = sim.their_commitment_tx(1)
    success = Peer(sim).second_level(1, 1, sim.preimage(1))
    court.reorg(0, [cheat])
    court.reorg(0, [success])
    court.mine(60)
    told = account(court)
    assert told.final
    moved = next(line for line in told.lines if line.kind == "revoked_htlc")
    assert moved.winner is Winner.US
    assert moved.won_sat == success.outputs[0].value
    peers_anchor = [line for line in told.lines if line.winner is Winner.PEER]
    assert sum(line.value_sat for line in peers_anchor) == (330 if sim.channel.anchors else 0)
    burnt = moved.value_sat - moved.won_sat
    assert told.lost_sat == burnt + (330 if sim.channel.anchors else 0)
    assert told.won_sat + told.lost_sat + told.given_up_sat + told.closing_fee_sat == 1_000_000


@pytest.mark.parametrize(
    ("channel_type", "aggregated"),
    [
        (STATIC_REMOTEKEY, False),
        (ANCHORS_ZERO_FEE_HTLC, False),
        (ANCHORS_ZERO_FEE_HTLC, True),
    ],
)
def test_l25_what_is_won_of_htlcs_that_were_never_told_is_won(
    channel_type: str, aggregated: bool
) -> None:
    """The cheater moves both on before we can take them, under anchors perhaps in one transaction.

    Of one the second level is taken by us, of the other by the cheater.
    """
    court, sim = begun(f"never told {aggregated}", channel_type)
    htlcs = [
        sim.htlc(number, Direction.OFFERED, number * LARGE_MSAT, court.height + 40)
        for number in (1, 2)
    ]
    court.tell(*sim.whole_move(0, *htlcs))
    court.tell(*sim.whole_move(0))
    court.forget_revoked_states()
    peer = Peer(sim)
    moving = [peer.second_level(1, number, sim.preimage(number)) for number in (2, 1)]
    if aggregated:
        first, second = moving
        inputs, outputs = first.inputs + second.inputs, first.outputs + second.outputs
        moving = [replace(first, inputs=inputs, outputs=outputs)]
    court.reorg(0, [sim.their_commitment_tx(1)])
    court.reorg(0, moving)
    court.chain.mempool.clear()
    kept, taken = sorted(
        (c for c in court.case.contracts if c.kind is ContractKind.REVOKED_SECOND_LEVEL),
        key=lambda contract: contract.value_sat,
    )
    court.reorg(0, [_spend_of(kept, b"\1"), _spend_of(taken, b"")])
    told = account(court)
    assert_adds_up(told)
    by_value = {
        line.value_sat: (line.winner, line.won_sat)
        for line in told.lines
        if line.kind is ContractKind.REVOKED_HTLC
    }
    assert by_value == {
        LARGE_MSAT // 1000: (Winner.US, kept.value_sat),
        2 * LARGE_MSAT // 1000: (Winner.PEER, 0),
    }


def _spend_of(contract: Contract, branch: bytes) -> Transaction:
    """By the revocation key, or by the cheater after its delay."""
    spends = TxIn(contract.outpoint, witness=(b"signature", branch, b"script"))
    return Transaction(2, (spends,), (TxOut(contract.value_sat, b"somewhere"),), 0)


def test_a_cooperative_close_is_as_agreed() -> None:
    court, sim = begun("account cooperative", STATIC_REMOTEKEY)
    court.broadcast(sim.cooperative_tx())
    court.mine(8)
    told = account(court)
    assert (told.final, told.won_sat, told.fees_sat) == (True, 0, 0)
    assert told.agreed_sat + told.closing_fee_sat == sim.capacity_sat


def test_an_open_channel_is_open() -> None:
    court, sim = begun("account open", STATIC_REMOTEKEY)
    told = account(court)
    assert (told.final, told.open_sat, told.lines) == (False, sim.capacity_sat, ())
    assert told.promise is not None
    assert told.promise.balance_sat == 600_000


def closed_in_every_way(channel_type: str) -> list[tuple[CloseKind, MemoryCourt]]:
    """A channel of each kind of close, HTLCs on those that can have them, all at their end."""
    courts = []
    for kind in CloseKind:
        court, sim = begun(f"every way {kind.value}", channel_type)
        offered = sim.htlc(1, Direction.OFFERED, LARGE_MSAT, court.height + 20)
        received = sim.htlc(2, Direction.RECEIVED, LARGE_MSAT, court.height + 60)
        if kind is not CloseKind.COOPERATIVE:
            court.tell(*sim.whole_move(0, offered, received))
            court.tell_preimage(sim.preimage(2))
        _close_as(court, sim, kind)
        court.mine(200)
        courts.append((kind, court))
    return courts


def _close_as(court: MemoryCourt, sim: SimulatedChannel, kind: CloseKind) -> None:
    match kind:
        case CloseKind.COOPERATIVE:
            tx = sim.cooperative_tx()
        case CloseKind.LOCAL:
            court.force_close()
            return
        case CloseKind.REMOTE:
            tx = sim.their_commitment_tx()
        case CloseKind.REMOTE_PENDING:
            sim.move(1_000_000, *sim.history[-1].htlcs)
            court.tell(sim.propose())
            tx = sim.their_commitment_tx()
        case CloseKind.BREACH:
            court.tell(*sim.whole_move(50_000_000))
            tx = sim.their_commitment_tx(1)
        case CloseKind.DATA_LOSS:
            for _ in range(2):
                sim.whole_move(1_000_000)
            tx = sim.their_commitment_tx()
        case CloseKind.LOCAL_UNKNOWN:
            for _ in range(2):
                sim.whole_move(1_000_000)
            tx = sim.our_commitment_tx()
        case CloseKind.UNKNOWN_SPEND:
            tx = sim.rogue_tx()
    court.reorg(0, [tx])


@BOTH_TYPES
def test_l25_a_node_adds_up_to_the_satoshi_over_every_kind_of_close(channel_type: str) -> None:
    courts = closed_in_every_way(channel_type)
    accounts = []
    for kind, court in courts:
        told = account(court)
        assert told.close_kind is kind
        assert_adds_up(told)
        accounts.append(told)
    total = add_up(accounts)
    parts = total.recovered_sat + total.fees_sat + total.lost_sat
    others = total.given_up_sat + total.open_sat + total.agreed_sat
    assert parts + others == total.at_commitment_sat
    # Counted a second time, from the transactions of the closes themselves.
    on_outputs = sum(
        output.value
        for _, court in courts
        if court.case.funding_spend is not None
        for output in Transaction.parse(court.case.funding_spend.tx).outputs
    )
    assert total.at_commitment_sat == on_outputs
    assert total.capacity_sat == sum(court.case.channel.capacity_sat for _, court in courts)
    assert total.channels == len(CloseKind)
    # Only what no rule explains stays open; everything else is won, lost, agreed or given up.
    unknown = next(a for a in accounts if a.close_kind is CloseKind.UNKNOWN_SPEND)
    assert total.open_sat == unknown.open_sat > 0
    assert total.final == len(CloseKind) - 1
    breach = next(a for a in accounts if a.close_kind is CloseKind.BREACH)
    assert breach.won_sat > 0
    assert breach.fees_sat > 0


def test_l25_sums_of_parts_are_the_sum_of_the_whole() -> None:
    accounts = [account(court) for _, court in closed_in_every_way(ANCHORS_ZERO_FEE_HTLC)]
    for cut in range(len(accounts) + 1):
        assert add_up(accounts[:cut]).plus(add_up(accounts[cut:])) == add_up(accounts)
