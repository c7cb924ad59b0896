"""Rows of docs/users_ask.md about HTLCs and heights, told in memory (L1, L12, L14, L16, L17)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY, Direction, Htlc
from contractcourt.contract import ContractKind
from contractcourt.effects import RaiseAlarm, SweepOutput
from contractcourt.events import PolicyChanged
from contractcourt.policy import Policy
from contractcourt.units import Blocks
from tests.scenarios.memory import MemoryCourt
from workers.simulation.channel import SimulatedChannel
from workers.simulation.peer import Peer

BOTH_TYPES = pytest.mark.parametrize("channel_type", [STATIC_REMOTEKEY, ANCHORS_ZERO_FEE_HTLC])
#: Too small for an output at the channel's feerate, and large enough.
_DUST_MSAT, _LARGE_MSAT = 300_000, 30_000_000


def begun(
    name: str, channel_type: str, *, restarts: bool = False
) -> tuple[MemoryCourt, SimulatedChannel]:
    court = MemoryCourt(restarts=restarts)
    sim = SimulatedChannel(name, channel_type)
    court.begin(sim)
    return court, sim


# -- L12 --


def goes_on_chain_at(
    policy: Policy, direction: Direction, expiry: int, *, known: bool, dust: bool
) -> int | None:
    """The written rule: lnd's deltas, nothing for dust, nothing for what we can't claim."""
    if dust:
        return None
    if direction is Direction.OFFERED:
        return expiry - policy.outgoing_broadcast_delta
    return expiry - policy.incoming_broadcast_delta if known else None


@BOTH_TYPES
@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("dust", [False, True])
def test_l12_each_htlc_takes_the_channel_on_chain_at_its_height_and_no_other(
    channel_type: str, direction: Direction, known: bool, dust: bool
) -> None:
    court, sim = begun(f"l12 {direction} {known} {dust}", channel_type)
    expiry = court.height + 40
    amount = _DUST_MSAT if dust else _LARGE_MSAT
    court.tell(*sim.whole_move(0, sim.htlc(1, direction, amount, expiry)))
    if known:
        court.tell_preimage(sim.preimage(1))
    rule = goes_on_chain_at(court.case.policy, direction, expiry, known=known, dust=dust)
    while court.height < expiry + 30 and court.published_commitments == 0:
        court.mine()
    assert (court.height if court.published_commitments else None) == rule


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(list(Direction)), st.integers(10, 90), st.booleans()),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 120),
    st.sampled_from([STATIC_REMOTEKEY, ANCHORS_ZERO_FEE_HTLC]),
)
def test_l12_many_blocks_in_one_look_lead_where_one_by_one_leads(
    htlcs: list[tuple[Direction, int, bool]], blocks: int, channel_type: str
) -> None:
    def play(pass_by: Callable[[MemoryCourt], None]) -> tuple[object, ...]:
        court, sim = begun("l12 many blocks", channel_type)
        held = [
            sim.htlc(n, direction, _LARGE_MSAT, court.height + expires_in)
            for n, (direction, expires_in, _) in enumerate(htlcs, 1)
        ]
        court.tell(*sim.whole_move(0, *held))
        for n, (_, _, known) in enumerate(htlcs, 1):
            if known:
                court.tell_preimage(sim.preimage(n))
        pass_by(court)
        closed = court.published_commitments
        court.mine(220)
        failed = sorted(int(str(told["htlc_id"])) for told in court.told("htlc.failed"))
        return closed, court.state, failed, sorted(court.contract_stages.items())

    assert play(lambda court: court.jump(blocks)) == play(lambda court: court.mine(blocks))


# -- L1 --


@BOTH_TYPES
@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("who", ["ours", "the peer's", "a third party's", "nobody's"])
def test_l1_whoever_spends_them_two_thousand_blocks_at_once_end_every_case(
    channel_type: str, restarts: bool, who: str
) -> None:
    court, sim = begun(f"l1 {who}", channel_type, restarts=restarts)
    offered = sim.htlc(1, Direction.OFFERED, _LARGE_MSAT, court.height + 30)
    received = sim.htlc(2, Direction.RECEIVED, _LARGE_MSAT, court.height + 60)
    court.tell(*sim.whole_move(0, offered, received))
    court.force_close()
    court.mine(4)
    if who == "the peer's":
        court.reorg(0, [Peer(sim).claim(1, 1, sim.preimage(1))])
    elif who == "a third party's" and channel_type == ANCHORS_ZERO_FEE_HTLC:
        court.mine(20)  # our anchor is anybody's by now, and nobody wants it
    court.jump(2_100)
    court.mine(12)
    court.jump(2_100)
    court.mine(12)
    assert court.state == "FULLY_RESOLVED", court.contract_stages


# -- L14 --


def _ours(court: MemoryCourt, _: SimulatedChannel, *__: Htlc) -> None:
    court.force_close()


def _theirs(court: MemoryCourt, sim: SimulatedChannel, *_: Htlc) -> None:
    court.broadcast(sim.their_commitment_tx())


def _pending(court: MemoryCourt, sim: SimulatedChannel, *htlcs: Htlc) -> None:
    sim.move(1_000_000, *htlcs)
    court.tell(sim.propose())
    court.broadcast(sim.their_commitment_tx())


def _revoked(court: MemoryCourt, sim: SimulatedChannel, *htlcs: Htlc) -> None:
    court.tell(*sim.whole_move(1_000_000, *htlcs))
    court.broadcast(sim.their_commitment_tx(sim.number - 1))


@BOTH_TYPES
@pytest.mark.parametrize("confirms", [_ours, _theirs, _pending, _revoked])
@pytest.mark.parametrize("amount_msat", [_DUST_MSAT, _LARGE_MSAT])
@pytest.mark.parametrize("forgotten", [False, True])
def test_l14_nothing_is_failed_upstream_whose_preimage_was_ever_known(
    channel_type: str,
    confirms: Callable[..., None],
    amount_msat: int,
    forgotten: bool,
) -> None:
    court, sim = begun(f"l14 {confirms.__name__}", channel_type, restarts=True)
    offered = sim.htlc(1, Direction.OFFERED, amount_msat, court.height + 30)
    other = sim.htlc(2, Direction.OFFERED, amount_msat, court.height + 30)
    court.tell(*sim.whole_move(0, offered, other))
    court.tell_preimage(sim.preimage(1))
    if forgotten:
        court.restart()
    confirms(court, sim, offered, other)
    court.restart()
    court.mine(80)
    assert court.state == "FULLY_RESOLVED"
    assert {told["htlc_id"] for told in court.told("htlc.failed")} == {2}
    # Upstream hears of each end exactly once (U1).
    [fulfilled] = court.told("htlc.fulfilled")
    assert (fulfilled["htlc_id"], fulfilled["preimage"]) == (1, str(sim.preimage(1)))


# -- L16, L17 --


def breached(name: str, channel_type: str) -> tuple[MemoryCourt, SimulatedChannel]:
    """Commitment 1, with an HTLC, is revoked."""
    court, sim = begun(name, channel_type)
    held = sim.htlc(1, Direction.OFFERED, _LARGE_MSAT, court.height + 80)
    court.tell(*sim.whole_move(0, held))
    court.tell(*sim.whole_move(50_000_000))
    return court, sim


@BOTH_TYPES
def test_l16_a_breach_without_its_secret_alarms_in_its_block(channel_type: str) -> None:
    court, sim = breached("no secret", channel_type)
    court.case = replace(court.case, revocation_secrets=())
    before = len(court.effects)
    court.reorg(0, [sim.their_commitment_tx(1)])
    alarms = [e for e in court.effects[before:] if isinstance(e, RaiseAlarm)]
    assert {alarm.kind for alarm in alarms} & {"breach_unpunished", "unknown_spend"}
    court.mine(30)
    assert court.state != "FULLY_RESOLVED"


@BOTH_TYPES
def test_l16_a_breach_without_its_htlcs_alarms_with_the_amount(channel_type: str) -> None:
    court, sim = breached("no htlcs", channel_type)
    court.forget_revoked_states()
    before = len(court.effects)
    court.reorg(0, [sim.their_commitment_tx(1)])
    alarms = [e for e in court.effects[before:] if isinstance(e, RaiseAlarm)]
    # Said over and over it is one alarm: see storage.alarms.
    [unpunished] = {alarm.message for alarm in alarms if alarm.kind == "breach_unpunished"}
    assert f"{_LARGE_MSAT // 1000} sat" in unpunished
    # What can be punished is; the rest holds the case open.
    court.mine(30)
    assert court.contract_stages["revoked_to_local"] == "resolved"
    assert court.state == "WAITING_FULL_RESOLUTION"


@BOTH_TYPES
@pytest.mark.parametrize("percent", [10, 50, 100])
def test_l17_how_much_of_the_cheaters_money_may_be_burnt_is_policy(
    channel_type: str, percent: int
) -> None:
    court, sim = breached(f"burn {percent}", channel_type)
    court.hear(PolicyChanged(Policy(breach_budget_percent=percent)))
    court.reorg(0, [sim.their_commitment_tx(1)])
    wanted = [e for e in court.effects if isinstance(e, SweepOutput) and e.per_commitment_secret]
    assert {e.contract.kind for e in wanted} == {
        ContractKind.REVOKED_TO_LOCAL,
        ContractKind.REVOKED_HTLC,
    }
    for effect in wanted:
        assert effect.budget_sat == effect.contract.value_sat * percent // 100


@BOTH_TYPES
def test_another_policy_renews_what_waits_to_be_swept(channel_type: str) -> None:
    court, sim = breached("renewed", channel_type)
    court.reorg(0, [sim.their_commitment_tx(1)])
    before = len(court.effects)
    court.hear(PolicyChanged(Policy(breach_budget_percent=100)))
    renewed = [e for e in court.effects[before:] if isinstance(e, SweepOutput)]
    taken = [e for e in renewed if e.contract.kind is ContractKind.REVOKED_TO_LOCAL]
    assert [e.budget_sat for e in taken] == [e.contract.value_sat for e in taken]
    assert taken


@BOTH_TYPES
@pytest.mark.parametrize("direction", list(Direction))
def test_l12_another_policy_moves_the_height_at_which_an_htlc_is_due(
    channel_type: str, direction: Direction
) -> None:
    """The alarm clock that it had is of the height before."""
    court, sim = begun(f"sooner {direction}", channel_type)
    expiry = court.height + 60
    court.tell(*sim.whole_move(0, sim.htlc(1, direction, _LARGE_MSAT, expiry)))
    court.tell_preimage(sim.preimage(1))
    sooner = Blocks(30)
    court.hear(
        PolicyChanged(Policy(incoming_broadcast_delta=sooner, outgoing_broadcast_delta=sooner))
    )
    while court.published_commitments == 0:
        assert court.height < expiry
        court.mine()
    assert court.height == expiry - sooner


@BOTH_TYPES
def test_another_policy_asks_for_nothing_that_is_resolved(channel_type: str) -> None:
    court, sim = begun("over", channel_type)
    court.broadcast(sim.their_commitment_tx())
    court.mine(20)
    assert court.state == "FULLY_RESOLVED"
    before = len(court.effects)
    court.hear(PolicyChanged(Policy(budget_percent=10)))
    assert court.effects[before:] == []


@BOTH_TYPES
def test_l12_what_is_due_while_a_close_is_not_buried_takes_nothing_on_chain(
    channel_type: str,
) -> None:
    """Another commitment than the one that is mined could only be in vain."""
    court, sim = begun("due meanwhile", channel_type)
    expiry = court.height + 2
    court.tell(*sim.whole_move(0, sim.htlc(1, Direction.OFFERED, _LARGE_MSAT, expiry)))
    court.reorg(0, [sim.their_commitment_tx()])
    court.mine()
    assert (court.height, court.case.closed) == (expiry, False)
    assert court.case.force_close is None
