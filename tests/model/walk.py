"""A walk through the law: every order of events to a depth, at random beyond it.

Each world is one channel before the law in memory. Worlds that are alike are visited once, so the
walk counts distinct states; every one is held against the promises, and from a sample of them the
case is led to its end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random

from contractcourt import codec
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.channel import Direction
from contractcourt.errors import LawError
from contractcourt.events import PublishOutcome
from contractcourt.units import Secret
from tests.model.promises import assert_promises
from tests.scenarios.memory import MemoryCourt
from workers.simulation.channel import SimulatedChannel
from workers.simulation.peer import Peer

_LARGE_MSAT = 30_000_000
#: Blocks after which every delay, expiry and burial of these channels is over.
_LONG = 120


@dataclass(frozen=True)
class Transactions:
    """What the peer may publish, made once."""

    theirs: Transaction
    revoked: Transaction
    cooperative: Transaction
    #: With the preimage of what we offered, from either valid commitment.
    claims: tuple[Transaction, ...]
    preimage: Secret

    @classmethod
    def of(cls, sim: SimulatedChannel) -> Transactions:
        """At commitment 1 with one HTLC each way."""
        peer, preimage = Peer(sim), sim.preimage(1)
        return cls(
            theirs=sim.their_commitment_tx(),
            revoked=sim.their_commitment_tx(0),
            cooperative=sim.cooperative_tx(),
            claims=(peer.claim(1, 1, preimage), peer.second_level(1, 1, preimage)),
            preimage=sim.preimage(2),
        )


@dataclass
class World:
    """One channel, and how it came here."""

    court: MemoryCourt
    could: Transactions
    path: tuple[str, ...] = ()

    @classmethod
    def begin(cls, channel_type: str) -> World:
        """A channel with one HTLC each way; commitment 0 is revoked."""
        court = MemoryCourt()
        sim = SimulatedChannel(f"model {channel_type}", channel_type)
        court.begin(sim)
        offered = sim.htlc(1, Direction.OFFERED, _LARGE_MSAT, court.height + 25)
        received = sim.htlc(2, Direction.RECEIVED, _LARGE_MSAT, court.height + 35)
        court.tell(*sim.whole_move(0, offered, received))
        return cls(court, Transactions.of(sim))

    def after(self, name: str) -> World:
        """The world in which this happened too. What the law refuses changes nothing."""
        court = self.court.fork()
        with suppress(LawError):
            ACTIONS[name](court, self.could)
        return World(court, self.could, (*self.path, name))

    def key(self) -> bytes:
        """Alike worlds have the same: the case, the chain, the mempool, what is stored."""
        digest = blake2b(codec.encode(self.court.case), digest_size=16)
        for part in self.court.facts():
            digest.update(part)
        return digest.digest()


Action = Callable[[MemoryCourt, Transactions], None]


def _publish(which: str) -> Action:
    """A spend of the funding output enters the mempool, where none is."""

    def act(court: MemoryCourt, could: Transactions) -> None:
        tx: Transaction = getattr(could, which)
        if court.chain.takes(tx):
            court.broadcast(tx)

    return act


def _peer_claims(court: MemoryCourt, could: Transactions) -> None:
    """From whichever commitment is there."""
    for tx in could.claims:
        if court.chain.made(tx.inputs[0].outpoint) and court.chain.takes(tx):
            court.broadcast(tx)


def _again(court: MemoryCourt, _: Transactions) -> None:
    """The last event is delivered a second time."""
    court.hear(court.docket[-1])


def _force_close(court: MemoryCourt, _: Transactions) -> None:
    court.force_close()


def _reorg(depth: int) -> Action:
    def act(court: MemoryCourt, _: Transactions) -> None:
        court.reorg(min(depth, len(court.chain.blocks)))

    return act


def _answers(outcome: PublishOutcome | None) -> Action:
    def act(court: MemoryCourt, _: Transactions) -> None:
        court.publish_answer = outcome

    return act


ACTIONS: dict[str, Action] = {
    "mine": lambda court, _: court.mine(),
    "mine 6": lambda court, _: court.mine(6),
    "jump 30": lambda court, _: court.jump(30),
    "reorg 1": _reorg(1),
    "reorg 7": _reorg(7),
    "force close": _force_close,
    "preimage": lambda court, could: court.tell_preimage(could.preimage),
    "peer claims": _peer_claims,
    "again": _again,
    "restart": lambda court, _: court.restart(),
    "refused": _answers(PublishOutcome.POLICY),
    "double spend": _answers(PublishOutcome.DOUBLE_SPEND),
    "accepted": _answers(None),
    "theirs": _publish("theirs"),
    "revoked": _publish("revoked"),
    "cooperative": _publish("cooperative"),
}


@dataclass
class Walked:
    """What a walk saw."""

    states: set[bytes] = field(default_factory=set)
    steps: int = 0
    ends: int = 0
    seconds: float = 0.0

    def words(self) -> str:
        """One line for people."""
        rate = self.steps / self.seconds if self.seconds else 0
        return (
            f"{len(self.states):,} distinct states in {self.steps:,} steps ({rate:,.0f} a second); "
            f"from {self.ends:,} of them the case was led to its end"
        ).replace(",", " ")


def walk(channel_type: str, depth: int, *, ends_one_in: int = 40) -> Walked:
    """Every order of `depth` events. Raises AssertionError with the path that broke a promise."""
    walked, began = Walked(), time.perf_counter()
    frontier = [World.begin(channel_type)]
    for _ in range(depth):
        frontier = [world for old in frontier for world in _new(old, walked, ends_one_in)]
    walked.seconds = time.perf_counter() - began
    return walked


def _new(world: World, walked: Walked, ends_one_in: int) -> Iterator[World]:
    for name in ACTIONS:
        after = world.after(name)
        walked.steps += 1
        key = after.key()
        if key in walked.states:
            continue
        walked.states.add(key)
        _check(after)
        if len(walked.states) % ends_one_in == 0:
            walked.ends += 1
            _lead_to_the_end(after)
        yield after


def stroll(channel_type: str, seed: int, steps: int) -> Walked:
    """At random, far beyond what every order can reach; begun anew when a case has ended."""
    chance, walked, began = Random(seed), Walked(), time.perf_counter()
    world = World.begin(channel_type)
    for number in range(steps):
        world = world.after(chance.choice(list(ACTIONS)))
        walked.steps += 1
        walked.states.add(world.key())
        _check(world)
        if number % 60 == 59:
            walked.ends += 1
            _lead_to_the_end(world)
            world = World.begin(channel_type)
    walked.seconds = time.perf_counter() - began
    return walked


def _check(world: World) -> None:
    try:
        assert_promises(world.court)
    except AssertionError as broken:
        raise AssertionError(f"after {' > '.join(world.path)}: {broken}") from broken


def _lead_to_the_end(world: World) -> None:
    """Liveness: from wherever this is, the case can still end."""
    court = world.court.fork()
    court.publish_answer = None
    with suppress(LawError):
        ACTIONS["theirs"](court, world.could)
    court.mine(_LONG)
    court.jump(_LONG)
    court.mine(_LONG)
    ended = World(court, world.could, (*world.path, "to the end"))
    _check(ended)
    assert court.state == "FULLY_RESOLVED", f"{' > '.join(ended.path)} ends in {court.state}"
