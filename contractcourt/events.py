"""Everything that can happen to a case. One union; the docket stores these, in order.

Events from the node (webhooks), from the chain (the watcher) and from our own effects
(publish results, the signer's answers) enter by the same door and are equal before the law.
"""

from __future__ import annotations

from enum import StrEnum

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import (
    Channel,
    FundingPubkeys,
    Htlc,
    LocalCommitment,
    RemoteCommitment,
    RevokedSecret,
)
from contractcourt.policy import Policy
from contractcourt.record import Record
from contractcourt.units import (
    BlockHash,
    BlockHeight,
    HexBytes,
    PaymentHash,
    PublicKey,
    Satoshi,
    Secret,
    Txid,
)


class PublishOutcome(StrEnum):
    """What the node said of a transaction we gave it (users_ask L5)."""

    ACCEPTED = "accepted"
    ALREADY_KNOWN = "already_known"
    DOUBLE_SPEND = "double_spend"
    MISSING_INPUTS = "missing_inputs"
    FEE_TOO_LOW = "fee_too_low"
    NON_FINAL = "non_final"
    POLICY = "policy"
    INVALID = "invalid"
    #: A text that no table knows: retried, and alarmed once.
    UNKNOWN = "unknown"


#: The node has it in its mempool.
TAKEN = frozenset({PublishOutcome.ACCEPTED, PublishOutcome.ALREADY_KNOWN})


class ChannelOpened(Record, frozen=True, tag="channel_opened"):
    """The node asks the court to watch this channel."""

    channel: Channel


class ChannelUpdate(Record, frozen=True):
    """One step of the channel's state: any of its parts, applied in the order written here."""

    local_commitment: LocalCommitment | None = None
    remote_commitment: RemoteCommitment | None = None
    remote_pending_commitment: RemoteCommitment | None = None
    revoked_secret: RevokedSecret | None = None


class ChannelUpdated(Record, frozen=True, tag="channel_updated"):
    """The channel moved on by one or more steps.

    `forgets`: preimages of HTLCs that are settled by then are forgotten. Dockets of versions that
    never forgot any lack it, and go on to prove the cases that were made of them.
    """

    updates: tuple[ChannelUpdate, ...]
    forgets: bool = False


class PreimageLearned(Record, frozen=True, tag="preimage_learned"):
    """The node, or the chain, told a preimage."""

    payment_hash: PaymentHash
    preimage: Secret


class ForceCloseRequested(Record, frozen=True, tag="force_close_requested"):
    """Somebody asks for our commitment to be published. `requested_at` is ISO 8601, UTC."""

    requested_at: str
    requested_by: str
    reason: str


class FundingReplaced(Record, frozen=True, tag="funding_replaced"):
    """A splice or an RBF of the funding: a spend by a candidate is not a close (BOLT 5 C1)."""

    funding_outpoint: OutPoint | None
    funding_txid_candidates: tuple[Txid, ...]
    #: Of the new funding output; needed before commitments that spend it can be checked.
    capacity_sat: Satoshi | None = None
    #: Of the new funding output; None while the keys are those that the channel was opened with.
    funding_pubkeys: FundingPubkeys | None = None


class SpendConfirmed(Record, frozen=True, tag="spend_confirmed"):
    """A watched outpoint was spent in the block at `height`; `tip_height` is the chain's then."""

    outpoint: OutPoint
    txid: Txid
    tx: HexBytes
    height: BlockHeight
    block_hash: BlockHash
    tip_height: BlockHeight


class SpendUnconfirmed(Record, frozen=True, tag="spend_unconfirmed"):
    """The block that held this spend has left the best chain; `tip_height` is what remains."""

    outpoint: OutPoint
    txid: Txid
    block_hash: BlockHash
    tip_height: BlockHeight


class SpendSeen(Record, frozen=True, tag="spend_seen"):
    """A transaction in the mempool spends a watched outpoint. It may never be mined."""

    outpoint: OutPoint
    txid: Txid
    tx: HexBytes


class SweepGivenUp(Record, frozen=True, tag="sweep_given_up"):
    """For long no fee rate was low enough for this output to pay for its own sweep."""

    outpoint: OutPoint
    reason: str


class PolicyChanged(Record, frozen=True, tag="policy_changed"):
    """The node's operator chose other deltas, depths or budgets."""

    policy: Policy


class HeightReached(Record, frozen=True, tag="height_reached"):
    """A height in the deadline index has been reached."""

    height: BlockHeight


class TransactionPublished(Record, frozen=True, tag="transaction_published"):
    """What came of an attempt to publish one of our transactions. `reason` is the node's text."""

    txid: Txid
    outcome: PublishOutcome
    reason: str = ""


class LocalPointLearned(Record, frozen=True, tag="local_point_learned"):
    """The signer told our per-commitment point for one commitment number."""

    number: int
    per_commitment_point: PublicKey


class RevokedStateRecalled(Record, frozen=True, tag="revoked_state_recalled"):
    """The HTLCs that a revoked commitment of the peer held, as they were told when it was made."""

    number: int
    htlcs: tuple[Htlc, ...]


Event = (
    ChannelOpened
    | ChannelUpdated
    | PreimageLearned
    | ForceCloseRequested
    | FundingReplaced
    | SpendConfirmed
    | SpendUnconfirmed
    | SpendSeen
    | SweepGivenUp
    | PolicyChanged
    | HeightReached
    | TransactionPublished
    | LocalPointLearned
    | RevokedStateRecalled
)
