"""One channel before the law, what may still happen to it, and what tells it from other worlds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b

import msgspec

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.bitcoin.transaction import Transaction
from contractcourt.case import Case
from contractcourt.channel import Direction, FundingPubkeys
from contractcourt.effects import CloseKind, Effect
from contractcourt.errors import LawError
from contractcourt.events import ChannelUpdate, TransactionPublished
from contractcourt.units import Satoshi, Secret, Txid
from tests.model.promises import Kind, assert_verdict_promises
from tests.scenarios.memory import MemoryCourt
from workers.simulation.balances import Balances
from workers.simulation.channel import SimulatedChannel
from workers.simulation.peer import Peer

#: Bytes as they are: twice as fast as the docket's codec, and nobody reads it back.
_encoder = msgspec.msgpack.Encoder(enc_hook=bytes)
_LARGE_MSAT = 30_000_000
#: Beyond everything that the court was ever told.
_FUTURE = 9


class ModelCourt(MemoryCourt):
    """A court in memory whose every verdict is held against the promises about verdicts."""

    #: The highest number of a commitment that was on chain and that the node had not told.
    _shown = -1

    @property
    def _is_stale(self) -> bool:
        """L19: the peer showed more than we know, in whichever block and however long ago."""
        return self._shown > max((c.number for c in self.case.remote_commitments), default=-1)

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        spend = self.case.funding_spend
        if spend is not None and spend.kind is CloseKind.DATA_LOSS:
            self._shown = max(self._shown, spend.commitment_number or 0)
        wanted = tuple(effects)
        assert_verdict_promises(self.case, wanted, is_stale=self._is_stale)
        super()._carry_out(wanted)

    def _publish(self, tx: Transaction) -> TransactionPublished:
        ours = tx.txid() in self._commitments
        assert not (ours and self._is_stale), "a commitment was sent that is known to be stale"
        return super()._publish(tx)


@dataclass(frozen=True)
class Prepared:
    """What the node may tell and the peer may publish, made once.

    Commitment 0 is revoked, 1 is both sides' newest, 2 has one HTLC more and may come to be. A
    tuple of transactions is one move, from whichever output is there.
    """

    theirs: tuple[Transaction, ...]
    pending: tuple[Transaction, ...]
    revoked: tuple[Transaction, ...]
    future: tuple[Transaction, ...]
    cooperative: tuple[Transaction, ...]
    rogue: tuple[Transaction, ...]
    splice: tuple[Transaction, ...]
    #: It brings new funding keys.
    splice_pubkeys: FundingPubkeys | None
    #: With the preimage of what we offered.
    claims: tuple[Transaction, ...]
    #: Of what the peer offered, once it has expired.
    timeouts: tuple[Transaction, ...]
    expiry: int
    preimage: Secret
    propose: ChannelUpdate
    revoke: ChannelUpdate
    accept: ChannelUpdate
    #: Our commitment on the new funding.
    spliced: ChannelUpdate
    #: What each spend of the funding is, by what the node has told so far.
    kinds: Mapping[Txid, Kind]

    @classmethod
    def of(cls, sim: SimulatedChannel, height: int) -> Prepared:
        """Of a channel at commitment 1 with HTLC 1 offered and HTLC 2 received."""
        held = sim.history[-1].htlcs
        cooperative, rogue = sim.cooperative_tx(), sim.rogue_tx()
        splice = sim.splice_tx(funding_keys=1)
        third = sim.htlc(3, Direction.OFFERED, _LARGE_MSAT, height + 40)
        propose, revoke, accept = sim.whole_move(0, *held, third)
        after = after_splice(sim, splice, funding_keys=1)
        by_number = {
            number: (sim.their_commitment_tx(number), after.their_commitment_tx(number))
            for number in (0, 1, 2, _FUTURE)
        }
        kinds: dict[Txid, Kind] = {
            tx.txid(): partial(_kind_of_theirs, number)
            for number, both in by_number.items()
            for tx in both
        }
        kinds[rogue.txid()] = lambda _: CloseKind.UNKNOWN_SPEND
        # A splice that nobody told looks like a close by both.
        for tx in (cooperative, splice):
            kinds[tx.txid()] = lambda _: CloseKind.COOPERATIVE
        return cls(
            theirs=by_number[1],
            pending=by_number[2],
            revoked=by_number[0],
            future=by_number[_FUTURE],
            cooperative=(cooperative,),
            rogue=(rogue,),
            splice=(splice,),
            splice_pubkeys=after.funding_pubkeys,
            claims=_of_the_peer(sim, after, 1, sim.preimage(1)),
            timeouts=_of_the_peer(sim, after, 2, None),
            expiry=held[1].cltv_expiry,
            preimage=sim.preimage(2),
            propose=propose,
            revoke=revoke,
            accept=accept,
            spliced=ChannelUpdate(local_commitment=after.local_commitment(1)),
            kinds=kinds,
        )


def _kind_of_theirs(number: int, case: Case) -> CloseKind:
    valid = [commitment.number for commitment in case.remote_commitments]
    if number in valid:
        return CloseKind.REMOTE if number == valid[0] else CloseKind.REMOTE_PENDING
    return CloseKind.BREACH if number < valid[0] else CloseKind.DATA_LOSS


def after_splice(
    sim: SimulatedChannel, splice: Transaction, funding_keys: int = 0
) -> SimulatedChannel:
    """The same channel on its new funding; our side paid the splice's fee."""
    fee_msat = (sim.capacity_sat - splice.outputs[0].value) * 1000
    history = [Balances(h.to_local_msat - fee_msat, h.to_remote_msat, h.htlcs) for h in sim.history]
    return replace(
        sim,
        funding_outpoint=OutPoint.of(splice.txid(), 0),
        capacity_sat=Satoshi(splice.outputs[0].value),
        history=history,
        funding_keys=funding_keys,
    )


def _of_the_peer(
    old: SimulatedChannel, new: SimulatedChannel, htlc_id: int, preimage: Secret | None
) -> tuple[Transaction, ...]:
    """What it takes of one HTLC from each commitment that may confirm."""
    return tuple(
        take(number, htlc_id, preimage)
        for peer in (Peer(old), Peer(new))
        for number in (1, 2)
        for take in (peer.claim, peer.second_level)
    )


@dataclass
class World:
    """One channel, and how it came here."""

    court: MemoryCourt
    could: Prepared
    path: tuple[str, ...] = ()

    @classmethod
    def begin(cls, channel_type: str) -> World:
        """A channel with one HTLC each way; commitment 0 is revoked."""
        court = ModelCourt()
        sim = SimulatedChannel(f"model {channel_type}", channel_type)
        court.begin(sim)
        offered = sim.htlc(1, Direction.OFFERED, _LARGE_MSAT, court.height + 25)
        received = sim.htlc(2, Direction.RECEIVED, _LARGE_MSAT, court.height + 35)
        court.tell(*sim.whole_move(0, offered, received))
        # The simulated channel walks on to commitment 2; the court is told of it by an action.
        return cls(court, Prepared.of(sim, court.height))

    def after(self, name: str, act: Action) -> World:
        """The world in which this happened too. What the law refuses changes nothing."""
        court = self.court.fork()
        with suppress(LawError):
            act(court, self.could)
        return World(court, self.could, (*self.path, name))

    def key(self) -> bytes:
        """Alike worlds have the same: the case, the chain, the mempool, what is stored."""
        digest = blake2b(_encoder.encode(self.court.case), digest_size=16)
        for part in self.court.facts():
            digest.update(part)
        return digest.digest()

    def words(self) -> str:
        """How it came here."""
        return " > ".join(self.path)


Action = Callable[[MemoryCourt, Prepared], None]
