"""The case of one channel: everything the law knows about its arbitration.

Begin here to read the law: a case and an event go into `advance`, a case and effects come out.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from contractcourt.bitcoin.outpoint import OutPoint
from contractcourt.channel import Channel, LocalCommitment, RemoteCommitment
from contractcourt.contract import Contract
from contractcourt.effects import CloseKind
from contractcourt.events import PublishOutcome
from contractcourt.units import (
    BlockHash,
    BlockHeight,
    Blocks,
    HexBytes,
    PaymentHash,
    PublicKey,
    Secret,
    Txid,
)


class State(str, Enum):
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


class ForceClose(msgspec.Struct, frozen=True):
    """Our decision to publish our commitment: made once, kept until some close is final."""

    requested_at: str
    requested_by: str
    reason: str
    commitment_number: int
    txid: Txid
    outcome: PublishOutcome | None = None


class FundingSpend(msgspec.Struct, frozen=True):
    """The transaction on chain that spent the funding output, and what it is."""

    kind: CloseKind
    txid: Txid
    tx: HexBytes
    height: BlockHeight
    block_hash: BlockHash
    commitment_number: int | None = None
    #: None for a splice: the outpoint that carries the channel on.
    replaced_by: OutPoint | None = None


class KnownPreimage(msgspec.Struct, frozen=True):
    payment_hash: PaymentHash
    preimage: Secret


class LocalPoint(msgspec.Struct, frozen=True):
    number: int
    per_commitment_point: PublicKey


class Case(msgspec.Struct, frozen=True):
    """Everything known about one channel's arbitration.

    `remote_commitments` are the peer's unrevoked ones in order of number: one, or two between
    our commitment_signed and its revoke_and_ack. `revocation_secrets` is the 49-slot store of
    BOLT 3 as (index, secret) pairs. `wanted_local_point` is a number asked of the signer.
    """

    channel: Channel
    state: State = State.DEFAULT
    best_height: BlockHeight = BlockHeight(0)
    local_commitment: LocalCommitment | None = None
    #: The one before, still valid until our node revokes it (BOLT 5 C3).
    previous_local_commitment: LocalCommitment | None = None
    remote_commitments: tuple[RemoteCommitment, ...] = ()
    revocation_secrets: tuple[tuple[int, Secret], ...] = ()
    preimages: tuple[KnownPreimage, ...] = ()
    funding_txid_candidates: tuple[Txid, ...] = ()
    local_points: tuple[LocalPoint, ...] = ()
    wanted_local_point: int | None = None
    force_close: ForceClose | None = None
    funding_spend: FundingSpend | None = None
    contracts: tuple[Contract, ...] = ()
    #: Blocks under which a contract's spend must be buried to resolve it.
    final_depth: Blocks = Blocks(6)


__all__ = ["CLOSED_STATES", "BlockHash", "Case", "ForceClose", "FundingSpend", "KnownPreimage", "LocalPoint", "State"]
