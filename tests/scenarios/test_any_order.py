"""Any order of events: whatever happens when, the promises hold and the case can still end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from contractcourt.case import CLOSED_STATES, State
from contractcourt.channel import ANCHORS_ZERO_FEE_HTLC, STATIC_REMOTEKEY, Direction
from contractcourt.contract import ContractStage
from contractcourt.errors import LawError
from contractcourt.events import PublishOutcome
from tests.scenarios.memory import MemoryCourt
from workers.simulation.channel import SimulatedChannel

Action = Callable[[MemoryCourt, SimulatedChannel], None]

#: Blocks after which every delay, expiry and burial of these channels is over.
_LONG = 150


def _send(make: str, *arguments: int) -> Action:
    """Somebody publishes one of the transactions that could spend the funding output."""

    def act(court: MemoryCourt, sim: SimulatedChannel) -> None:
        tx = getattr(sim, make)(*arguments)
        spends = tx.inputs[0].outpoint
        taken = any(
            item.outpoint == spends
            for other in court.chain.mempool.values()
            for item in other.inputs
        )
        if not taken and court.chain.spender(spends) is None:
            court.broadcast(tx)

    return act


def _move(court: MemoryCourt, sim: SimulatedChannel) -> None:
    """Both sides go on, as long as the node has not told of a close."""
    if sim.number > 4 or court.case.funding_spend is not None:
        return
    expiry = court.height + 30
    offered = sim.htlc(10 + sim.number, Direction.OFFERED, 20_000_000, expiry)
    received = sim.htlc(20 + sim.number, Direction.RECEIVED, 10_000_000, expiry + 10)
    held = (offered, received) if sim.number % 2 == 0 else ()
    court.tell(*sim.whole_move(5_000_000, *held))


def _again(court: MemoryCourt, sim: SimulatedChannel) -> None:
    """The last webhook comes a second time."""
    court.tell(sim.accept())


def _preimages(court: MemoryCourt, sim: SimulatedChannel) -> None:
    for number in (20, 22):
        court.tell_preimage(sim.preimage(number))


def _force_close(court: MemoryCourt, _: SimulatedChannel) -> None:
    court.force_close()


def _reorg(depth: int) -> Action:
    def act(court: MemoryCourt, _: SimulatedChannel) -> None:
        court.reorg(min(depth, len(court.chain.blocks)))

    return act


_ACTIONS: dict[str, Action] = {
    "mine 1": lambda court, _: court.mine(),
    "mine 3": lambda court, _: court.mine(3),
    "mine 12": lambda court, _: court.mine(12),
    "reorg 1": _reorg(1),
    "reorg 4": _reorg(4),
    "reorg 15": _reorg(15),
    "force close": _force_close,
    "move": _move,
    "again": _again,
    "preimages": _preimages,
    "restart": lambda court, _: court.restart(),
    "node refuses": lambda court, _: court.refuse_publishing(True),
    "node accepts": lambda court, _: court.refuse_publishing(False),
    "cooperative": _send("cooperative_tx"),
    "theirs": _send("their_commitment_tx"),
    "theirs, first": _send("their_commitment_tx", 0),
    "theirs, lost": _send("their_commitment_tx", 9),
    "rogue": _send("rogue_tx"),
}


def _check(court: MemoryCourt) -> None:
    case = court.case
    assert court.closed_in_database == (case.state in CLOSED_STATES)
    # P3: another one only when the node told one that is newer than what was decided.
    assert court.published_commitments <= 1 or "update_after_force_close" in court.alarms()
    if case.state is State.FULLY_RESOLVED:
        assert all(c.stage is ContractStage.RESOLVED for c in case.contracts)
    if case.state in CLOSED_STATES:
        assert case.funding_spend is not None


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([STATIC_REMOTEKEY, ANCHORS_ZERO_FEE_HTLC]),
    st.lists(st.sampled_from(sorted(_ACTIONS)), max_size=14),
    st.booleans(),
)
def test_the_promises_hold_in_any_order(channel_type: str, plan: list[str], restarts: bool) -> None:
    court = MemoryCourt(restarts=restarts)
    sim = SimulatedChannel("any order", channel_type)
    court.begin(sim)
    for name in plan:
        # Refused at the door: nothing was stored, and the story goes on.
        with suppress(LawError):
            _ACTIONS[name](court, sim)
        _check(court)
    _end(court, sim)


def _end(court: MemoryCourt, sim: SimulatedChannel) -> None:
    """From wherever this led, the case can still end; what only an operator can end stays open."""
    court.refuse_publishing(False)
    _ACTIONS["theirs"](court, sim)
    court.mine(_LONG)
    _check(court)
    unknown = court.close_kind == "unknown_spend"
    if not unknown:
        assert court.state == "FULLY_RESOLVED", (court.close_kind, court.contract_stages)


def test_every_answer_of_the_node_to_a_commitment_is_lived_through() -> None:
    for outcome in PublishOutcome:
        court = MemoryCourt(answer=outcome)
        sim = SimulatedChannel(f"answered {outcome.value}", STATIC_REMOTEKEY)
        court.begin(sim)
        court.force_close()
        assert court.state in ("BROADCAST_COMMIT", "COMMITMENT_BROADCASTED")
        _end(court, sim)
