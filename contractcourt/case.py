"""The case of one channel: everything the law knows about its arbitration.

Begin here to read the law: a case and an event go into `advance`, a case and effects come out.
"""

from __future__ import annotations

from enum import StrEnum

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import (
    Channel,
    Htlc,
    LocalCommitment,
    RemoteCommitment,
    Side,
)
from contractcourt.contract import Contract
from contractcourt.effects import CloseKind
from contractcourt.errors import OutOfOrder
from contractcourt.events import ForceCloseRequested, PublishOutcome, SpendConfirmed
from contractcourt.fundings import Funding, RetiredFunding, Splice
from contractcourt.policy import Policy
from contractcourt.record import Record
from contractcourt.units import (
    BlockHash,
    BlockHeight,
    HexBytes,
    PaymentHash,
    PublicKey,
    Secret,
    Txid,
)


class State(StrEnum):
    """The arbitrator's states, under lnd's names (`lnd_behaviour.md` section 2)."""

    DEFAULT = "DEFAULT"
    BROADCAST_COMMIT = "BROADCAST_COMMIT"
    COMMITMENT_BROADCASTED = "COMMITMENT_BROADCASTED"
    CONTRACT_CLOSED = "CONTRACT_CLOSED"
    WAITING_FULL_RESOLUTION = "WAITING_FULL_RESOLUTION"
    FULLY_RESOLVED = "FULLY_RESOLVED"


#: States in which the channel is closed in the database.
CLOSED_STATES = frozenset(
    {State.CONTRACT_CLOSED, State.WAITING_FULL_RESOLUTION, State.FULLY_RESOLVED}
)
_BEFORE_THE_CLOSE = (State.DEFAULT, State.BROADCAST_COMMIT, State.COMMITMENT_BROADCASTED)

#: Every step that a case may take forward (`arbitrator/machine.py`).
STEPS_FORWARD = frozenset(
    {
        (State.DEFAULT, State.BROADCAST_COMMIT),
        (State.BROADCAST_COMMIT, State.COMMITMENT_BROADCASTED),
        *((state, State.CONTRACT_CLOSED) for state in _BEFORE_THE_CLOSE),
        *((state, State.FULLY_RESOLVED) for state in _BEFORE_THE_CLOSE),
        (State.CONTRACT_CLOSED, State.WAITING_FULL_RESOLUTION),
        (State.CONTRACT_CLOSED, State.FULLY_RESOLVED),
        (State.WAITING_FULL_RESOLUTION, State.FULLY_RESOLVED),
    }
)
#: Every step back: a reorg took a close, or a contract's spend, back; a preimage came late; or the
#: funding moved, or a newer commitment of ours was told, and what was decided is decided anew.
STEPS_BACK = frozenset(
    {
        *((closed, state) for closed in CLOSED_STATES for state in _BEFORE_THE_CLOSE),
        (State.FULLY_RESOLVED, State.WAITING_FULL_RESOLUTION),
        (State.COMMITMENT_BROADCASTED, State.BROADCAST_COMMIT),
    }
)


#: Who asks for a force close when nobody else did: an HTLC is due.
COURT = "court"


class ForceClose(Record, frozen=True):
    """Our decision to publish our commitment: made once, kept until some close is final.

    The commitment is another one when a splice moves the funding, or the node tells a newer. `sent`
    are those decided before it that the Bitcoin node was given.
    """

    requested_at: str
    requested_by: str
    reason: str
    commitment_number: int
    txid: Txid
    outcome: PublishOutcome | None = None
    sent: tuple[Txid, ...] = ()


class FundingSpend(Record, frozen=True):
    """The transaction on chain that spent the funding output, and what the law takes it for."""

    kind: CloseKind
    txid: Txid
    tx: HexBytes
    height: BlockHeight
    block_hash: BlockHash
    commitment_number: int | None = None


class KnownPreimage(Record, frozen=True):
    """A preimage that some HTLC of this channel can be claimed with."""

    payment_hash: PaymentHash
    preimage: Secret


class RevokedState(Record, frozen=True):
    """The HTLCs of one revoked commitment, recalled because it is on chain."""

    number: int
    htlcs: tuple[Htlc, ...]


class LocalPoint(Record, frozen=True):
    """Our per-commitment point of one commitment number, as the signer told it."""

    number: int
    per_commitment_point: PublicKey


class Case(Record, frozen=True):
    """Everything known about one channel's arbitration.

    `remote_commitments` are the peer's unrevoked ones in order of number: one, or two between
    our commitment_signed and its revoke_and_ack. `revocation_secrets` is the 49-slot store of
    BOLT 3 as (index, secret) pairs. `wanted_local_point` is a number asked of the signer.
    `failed_htlcs` and `fulfilled_htlcs` are offered HTLCs whose end was told, `warned` the risks
    that were told. `path` is every state the case has been in, in order, the present one last.
    `ahead_of_us` is kept when a reorg takes such a spend back: what was seen proves what we lost.
    `waiting_spends` were heard before the node told enough to take them in (`splices`).
    """

    channel: Channel
    state: State = State.DEFAULT
    path: tuple[State, ...] = (State.DEFAULT,)
    best_height: BlockHeight = BlockHeight(0)
    local_commitment: LocalCommitment | None = None
    #: The one before, still valid until our node revokes it (BOLT 5 C3); after a force close the
    #: one that was decided, however many come after it.
    previous_local_commitment: LocalCommitment | None = None
    remote_commitments: tuple[RemoteCommitment, ...] = ()
    revocation_secrets: tuple[tuple[int, Secret], ...] = ()
    preimages: tuple[KnownPreimage, ...] = ()
    splice: Splice = Splice()
    retired_fundings: tuple[RetiredFunding, ...] = ()
    waiting_spends: tuple[SpendConfirmed, ...] = ()
    #: Our commitments that were decided before the present one, or are mined though the node went
    #: on: any that was sent may confirm.
    decided_before: tuple[LocalCommitment, ...] = ()
    local_points: tuple[LocalPoint, ...] = ()
    wanted_local_point: int | None = None
    recalled: RevokedState | None = None
    #: A force close that was asked for and could not be decided yet.
    asked: ForceCloseRequested | None = None
    force_close: ForceClose | None = None
    funding_spend: FundingSpend | None = None
    contracts: tuple[Contract, ...] = ()
    failed_htlcs: tuple[int, ...] = ()
    fulfilled_htlcs: tuple[int, ...] = ()
    warned: tuple[str, ...] = ()
    #: (owner, number) of commitments that were on chain and beyond all we knew of their owner's.
    ahead_of_us: tuple[tuple[Side, int], ...] = ()
    policy: Policy = Policy()

    @property
    def closed(self) -> bool:
        """The channel is closed in the database."""
        return self.state in CLOSED_STATES

    @property
    def lost_data(self) -> bool:
        """A commitment proved that our newest are stale, and nothing told since explains it."""
        newest = {
            Side.LOCAL: -1 if self.local_commitment is None else self.local_commitment.number,
            Side.REMOTE: max((c.number for c in self.remote_commitments), default=-1),
        }
        return any(number > newest[owner] for owner, number in self.ahead_of_us)

    @property
    def funding(self) -> Funding:
        """The present one."""
        channel = self.channel
        return Funding(
            channel.funding_outpoint,
            channel.capacity_sat,
            self.local_commitment,
            channel.funding_pubkeys,
        )

    def funding_at(self, outpoint: OutPoint) -> Funding | None:
        """What is known of the funding at `outpoint`; None where that is none of this channel."""
        return next((one for one in self.fundings if one.funding_outpoint == outpoint), None)

    def channel_on(self, funding: Funding) -> Channel:
        """The channel as that funding makes it. Raises OutOfOrder while its capacity is unknown."""
        if funding.capacity_sat is None:
            raise OutOfOrder(
                "send capacity_sat of the new funding in channel.funding_replaced first"
            )
        return self.channel.funded_by(
            funding.funding_outpoint, funding.capacity_sat, funding.funding_pubkeys
        )

    def retired_with(self, changed: Funding) -> tuple[RetiredFunding, ...]:
        """The old fundings, this one as it is told now where it is one of them."""
        return tuple(
            changed.retired(old.capacity_sat, old.replaced_by)
            if old.funding_outpoint == changed.funding_outpoint
            else old
            for old in self.retired_fundings
        )

    @property
    def fundings(self) -> tuple[Funding, ...]:
        """The present one, the new ones that were told, and the old ones.

        Until a splice is locked, commitments are signed for the old funding and the new ones.
        """
        retired = (r.funding for r in self.retired_fundings)
        return (self.funding, *self.splice.told, *retired)

    @property
    def held(self) -> tuple[LocalCommitment, ...]:
        """Every commitment of ours that the case still knows, on whichever funding."""
        found = (
            self.local_commitment,
            self.previous_local_commitment,
            *(new.local_commitment for new in self.splice.told),
            *(retired.local_commitment for retired in self.retired_fundings),
            *self.decided_before,
        )
        return tuple(commitment for commitment in found if commitment is not None)

    @property
    def htlcs(self) -> tuple[Htlc, ...]:
        """Those of every commitment that may confirm, as each of them holds them."""
        ours = (htlc for commitment in self.held for htlc in commitment.htlcs)
        theirs = (htlc for commitment in self.remote_commitments for htlc in commitment.htlcs)
        return (*ours, *theirs)

    @property
    def payment_hashes(self) -> set[PaymentHash]:
        """Of the HTLCs of every commitment that may confirm."""
        return {htlc.payment_hash for htlc in self.htlcs}

    def preimage_of(self, payment_hash: PaymentHash) -> Secret | None:
        """The preimage of `payment_hash`, if this case knows it."""
        for known in self.preimages:
            if known.payment_hash == payment_hash:
                return known.preimage
        return None
